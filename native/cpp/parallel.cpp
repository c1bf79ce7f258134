#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

#include "one_thread.hpp"

namespace deltarule {
namespace {

constexpr double kWorthWaking = 2e5;  // operations: some 20 us, what waking a thread takes

std::atomic<int> working{0};  // threads inside work() now, in all calls together

// What the threads of one call share. It outlives the call where a helper comes too late.
struct Job {
  Job(int pieces, const std::function<void(int)>& work) : pieces(pieces), work(work) {}

  const int pieces;
  const std::function<void(int)>& work;  // not touched once all pieces are taken
  std::atomic<int> next{0};
  std::mutex mutex;
  std::condition_variable all_done;
  int done = 0;
  std::exception_ptr failure;

  void run() {
    const OneThread here;
    int piece;
    while ((piece = next.fetch_add(1)) < pieces) {
      std::exception_ptr thrown;
      try {
        work(piece);
      } catch (...) {
        thrown = std::current_exception();
      }
      std::lock_guard<std::mutex> lock(mutex);
      if (thrown && !failure) failure = std::move(thrown);
      if (++done == pieces) all_done.notify_all();
    }
  }
};

}  // namespace

int pieces(const Pool& pool, double operations, int64_t most) {
  const double worth = operations / kWorthWaking;
  const int64_t threads = std::max<int64_t>(pool.num_threads(), 1);
  const int64_t wanted = worth < 2 ? 1 : std::min<int64_t>(threads, static_cast<int64_t>(worth));
  return static_cast<int>(std::max<int64_t>(1, std::min(wanted, most)));
}

void parallel(Pool& pool, int pieces, const std::function<void(int)>& work) {
  auto job = std::make_shared<Job>(pieces, work);
  const int limit = static_cast<int>(std::max<int64_t>(pool.num_threads(), 1));
  working.fetch_add(1);
  try {
    for (int i = 1; i < pieces; ++i) {
      pool.Schedule([job, limit] {
        if (working.fetch_add(1) < limit) job->run();
        working.fetch_sub(1);
      });
    }
  } catch (const std::bad_alloc&) {  // fewer helpers; those who were asked still hold `work`
  }
  job->run();
  {
    std::unique_lock<std::mutex> lock(job->mutex);
    job->all_done.wait(lock, [&] { return job->done == job->pieces; });
  }
  working.fetch_sub(1);
  if (job->failure) std::rethrow_exception(std::move(job->failure));  // a late helper has none
}

// What the members share. It outlives the team where a helper comes too late.
struct Team::Shared {
  static constexpr uint64_t kTask = uint64_t{1} << 32;

  std::atomic<uint64_t> open{0};  // kTask times the number of the task, plus its pieces not taken
  std::atomic<int64_t> done{0};
  std::atomic<bool> over{false};
  Work work = nullptr;  // these two change only while no piece is taken and not done
  const void* what = nullptr;

  bool do_one() {
    uint64_t seen = open.load(std::memory_order_acquire);
    while (seen % kTask != 0) {
      if (open.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel)) {
        work(what, static_cast<int64_t>(seen % kTask) - 1);
        done.fetch_add(1, std::memory_order_release);
        return true;
      }
    }
    return false;
  }

  void help() {
    for (int idle = 0; !over.load(std::memory_order_acquire);) {
      idle = do_one() ? 0 : rest(idle);
    }
  }

  // Waits a moment; others may have the processor if it was a long time already.
  static int rest(int idle) {
    if (idle == kPatience) {
      std::this_thread::yield();
      return idle;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    return idle + 1;
  }

  static constexpr int kPatience = 1000;  // some ten microseconds
};

Team::Team(Pool& pool, int members) : shared_(std::make_shared<Shared>()) {
  const int limit = static_cast<int>(std::max<int64_t>(pool.num_threads(), 1));
  working.fetch_add(1);
  try {
    for (int i = 1; i < members; ++i) {
      pool.Schedule([shared = shared_, limit] {
        if (working.fetch_add(1) < limit) shared->help();
        working.fetch_sub(1);
      });
    }
  } catch (const std::bad_alloc&) {  // fewer helpers
  }
}

Team::~Team() {
  shared_->over.store(true, std::memory_order_release);
  working.fetch_sub(1);
}

void Team::each(int64_t pieces, Work work, const void* what) {
  Shared& shared = *shared_;
  shared.work = work;
  shared.what = what;
  shared.done.store(0, std::memory_order_relaxed);
  const uint64_t task = shared.open.load(std::memory_order_relaxed) / Shared::kTask + 1;
  shared.open.store(task * Shared::kTask + pieces, std::memory_order_release);
  while (shared.do_one()) {
  }
  for (int idle = 0; shared.done.load(std::memory_order_acquire) < pieces;) {
    idle = Shared::rest(idle);
  }
}

Range share(int64_t total, int piece, int pieces) {
  return {total * piece / pieces, total * (piece + 1) / pieces};
}

}  // namespace deltarule
