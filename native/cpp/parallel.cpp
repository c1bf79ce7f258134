#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
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

Range share(int64_t total, int piece, int pieces) {
  return {total * piece / pieces, total * (piece + 1) / pieces};
}

}  // namespace deltarule
