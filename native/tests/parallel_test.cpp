// parallel() on pools that work, that never come, and that come too late.
#include "parallel.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <new>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.hpp"

namespace {

// Stands in for XLA's pool: tasks wait in a queue for `threads` workers, started when asked.
class FakePool {
 public:
  explicit FakePool(int threads) : threads_(threads) {
    api_.XLA_FFI_ThreadPool_Schedule = [](XLA_FFI_ThreadPool_Schedule_Args* args) {
      FakePool* pool = of(args->ctx);
      auto task = [task = args->task, data = args->data] { task(data); };
      if (pool->full_from_ >= 0 && pool->full_from_-- == 0) {
        pool->refused_.push_back(task);
        throw std::bad_alloc();
      }
      pool->put(task);
      return static_cast<XLA_FFI_Error*>(nullptr);
    };
    api_.XLA_FFI_ThreadPool_NumThreads = [](XLA_FFI_ThreadPool_NumThreads_Args* args) {
      *args->num_threads = of(args->ctx)->threads_;
      return static_cast<XLA_FFI_Error*>(nullptr);
    };
  }

  ~FakePool() {
    start();  // what was put in last is run too, late
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (auto& worker : workers_) worker.join();
    for (auto& task : refused_) task();  // which frees it
  }

  void start() {
    while (static_cast<int>(workers_.size()) < threads_) workers_.emplace_back([this] { work(); });
  }

  // After so many more tasks there is no memory for one.
  void fill_after(int tasks) { full_from_ = tasks; }

  deltarule::Pool handle() {
    auto* context = reinterpret_cast<XLA_FFI_ExecutionContext*>(this);
    return *xla::ffi::CtxDecoding<deltarule::Pool>::Decode(&api_, context, diagnostic_);
  }

 private:
  static FakePool* of(XLA_FFI_ExecutionContext* context) {
    return reinterpret_cast<FakePool*>(context);
  }

  void put(std::function<void()> task) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  const int threads_;
  int full_from_ = -1;
  XLA_FFI_Api api_{};
  xla::ffi::DiagnosticEngine diagnostic_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::function<void()>> refused_;
  std::vector<std::thread> workers_;
  bool ending_ = false;
};

constexpr int kRounds = 2000;

// Returns how often each piece was worked on.
std::vector<int> counted(deltarule::Pool pool, int pieces) {
  std::vector<int> times(pieces, 0);  // plain ints: each piece has one writer, or it is a race
  deltarule::parallel(pool, pieces, [&](int piece) { ++times[piece]; });
  return times;
}

void test_each_piece_is_done_once() {
  FakePool pool(3);
  pool.start();
  for (int round = 0; round < kRounds; ++round) {
    const int pieces = 1 + round % 7;
    check(counted(pool.handle(), pieces) == std::vector<int>(pieces, 1));
  }
}

void test_nobody_waits_for_a_pool_that_does_nothing() {
  FakePool pool(2);  // not started: as after fork(), or busy elsewhere
  for (int round = 0; round < 10; ++round) {
    check(counted(pool.handle(), 5) == std::vector<int>(5, 1));
  }
}  // here the helpers come: their calls have long returned, and they must touch nothing

void test_all_is_done_where_there_is_no_memory_for_a_helper() {
  for (int helpers : {0, 1, 2}) {
    FakePool pool(3);
    pool.start();
    pool.fill_after(helpers);
    check(counted(pool.handle(), 5) == std::vector<int>(5, 1));
    check(counted(pool.handle(), 5) == std::vector<int>(5, 1));
  }
}

void test_a_failure_comes_out_after_all_pieces_have_ended() {
  FakePool pool(3);
  pool.start();
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> ended{0};
    bool failed = false;
    auto handle = pool.handle();
    try {
      deltarule::parallel(handle, 4, [&](int piece) {
        ++ended;
        if (piece % 2) throw std::runtime_error("piece");
      });
    } catch (const std::runtime_error& error) {
      failed = std::string(error.what()) == "piece";
    }
    check(failed && ended == 4);
  }
}

void test_calls_from_many_threads_share_the_pool() {
  FakePool pool(2);
  pool.start();
  std::atomic<int> inside{0}, most{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 2; ++caller) {
    callers.emplace_back([&] {
      auto handle = pool.handle();
      for (int round = 0; round < kRounds; ++round) {
        deltarule::parallel(handle, 4, [&](int) {
          const int now = ++inside;
          int seen = most;
          while (seen < now && !most.compare_exchange_weak(seen, now)) {
          }
          std::this_thread::yield();
          --inside;
        });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  check(most <= 3);  // callers never wait, but only one helper was let in beside the first of them
}

void test_a_call_inside_a_call() {
  FakePool pool(2);
  pool.start();
  auto handle = pool.handle();
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> done{0};
    deltarule::parallel(handle, 3, [&](int) {
      auto inner = pool.handle();
      deltarule::parallel(inner, 2, [&](int) { ++done; });
    });
    check(done == 6);
  }
}

// Adds up, task after task, what the pieces of the task before have left: each must see all of it.
std::vector<int> handed_on(deltarule::Team&& team, int tasks, int pieces) {
  struct What {
    std::vector<int> before, after;
  } what{std::vector<int>(pieces, 1), std::vector<int>(pieces, 0)};
  for (int task = 0; task < tasks; ++task) {
    team.each(
        pieces,
        [](const void* given, int64_t piece) {
          auto& what = *static_cast<What*>(const_cast<void*>(given));
          what.after[piece] += std::accumulate(what.before.begin(), what.before.end(), 0) % 7;
        },
        &what);
    what.before = what.after;
  }
  return what.before;
}

std::vector<int> alone(int tasks, int pieces) {
  FakePool pool(1);
  auto handle = pool.handle();
  return handed_on(deltarule::Team(handle, 1), tasks, pieces);
}

void test_a_team_does_task_after_task() {
  FakePool pool(3), idle(1);
  pool.start();
  for (int pieces : {1, 2, 5, 16}) {
    const auto expected = alone(kRounds, pieces);
    auto handle = pool.handle(), nobody = idle.handle();
    check(handed_on(deltarule::Team(handle, 3), kRounds, pieces) == expected);
    check(handed_on(deltarule::Team(nobody, 2), kRounds, pieces) == expected);  // no helper comes
  }
}  // now it does, and finds its team gone

void test_members_of_a_team_work_at_the_same_time() {
  FakePool pool(2);
  pool.start();
  auto handle = pool.handle();
  deltarule::Team team(handle, 2);
  std::atomic<int> inside{0};
  team.each(
      2,
      [](const void* given, int64_t) {
        auto& inside = *static_cast<std::atomic<int>*>(const_cast<void*>(given));
        ++inside;
        while (inside < 2) std::this_thread::yield();  // for ever, if nobody else comes
      },
      &inside);
  check(inside == 2);
}

void test_teams_of_many_threads_share_the_pool() {
  FakePool pool(2);
  pool.start();
  const auto expected = alone(20, 4);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      auto handle = pool.handle();
      for (int round = 0; round < kRounds / 20; ++round) {
        check(handed_on(deltarule::Team(handle, 2), 20, 4) == expected);
      }
    });
  }
  for (auto& caller : callers) caller.join();
}

void test_a_team_without_memory_for_helpers_works_alone() {
  FakePool pool(3);
  pool.start();
  pool.fill_after(0);
  auto handle = pool.handle();
  check(handed_on(deltarule::Team(handle, 3), 20, 4) == alone(20, 4));
}

void test_shares_are_even_and_leave_nothing_out() {
  for (int64_t total : {0, 1, 5, 64, 1000003}) {
    for (int pieces : {1, 2, 3, 7}) {
      int64_t next = 0;
      for (int piece = 0; piece < pieces; ++piece) {
        const auto range = deltarule::share(total, piece, pieces);
        check(range.first == next);
        check(range.size() == total / pieces || range.size() == total / pieces + 1);
        next = range.last;
      }
      check(next == total);
    }
  }
}

void test_pieces_follow_the_work_and_the_pool() {
  FakePool two(2), none(0);
  check(deltarule::pieces(two.handle(), 1e3, 8) == 1);  // not worth waking anyone
  check(deltarule::pieces(two.handle(), 1e9, 8) == 2);
  check(deltarule::pieces(two.handle(), 1e9, 1) == 1);
  check(deltarule::pieces(two.handle(), 1e9, 0) == 1);  // an empty batch is one empty piece
  check(deltarule::pieces(none.handle(), 1e9, 8) == 1);
}

}  // namespace

int main() {
  test_each_piece_is_done_once();
  test_nobody_waits_for_a_pool_that_does_nothing();
  test_all_is_done_where_there_is_no_memory_for_a_helper();
  test_a_failure_comes_out_after_all_pieces_have_ended();
  test_calls_from_many_threads_share_the_pool();
  test_a_call_inside_a_call();
  test_a_team_does_task_after_task();
  test_members_of_a_team_work_at_the_same_time();
  test_teams_of_many_threads_share_the_pool();
  test_a_team_without_memory_for_helpers_works_alone();
  test_shares_are_even_and_leave_nothing_out();
  test_pieces_follow_the_work_and_the_pool();
}
