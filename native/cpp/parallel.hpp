// Work in pieces on XLA's own threads: the library never starts a thread of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "xla/ffi/api/ffi.h"

namespace deltarule {

using Pool = xla::ffi::ThreadPool;

// How many pieces to cut work into that takes about `operations` simple operations: one where
// waking another thread would cost more than it saves, and never more than `most`.
// It depends on the work and on the number of XLA's threads alone, so that sums over pieces come
// out the same in every run.
int pieces(const Pool& pool, double operations, int64_t most);

// Calls work(0), ..., work(pieces - 1), each once, and returns when all have ended.
// The caller works too and takes whatever no other thread has begun, so it never waits for a
// thread that is busy elsewhere. Nobody helps while as many threads as XLA has are at work, in all
// calls together; so at most that many work at a time, and one more for each further caller.
// The first exception that a piece throws is thrown here after all have ended.
void parallel(Pool& pool, int pieces, const std::function<void(int)>& work);

// Threads that stay together for many short tasks, one after another, each cut into pieces: some ten
// microseconds of work are worth sharing here, where parallel() would still be waking somebody.
// As there, the caller takes whatever nobody has begun, and helpers beyond XLA's threads do nothing.
class Team {
 public:
  using Work = void (*)(const void* what, int64_t piece);  // must not throw

  Team(Pool& pool, int members);  // the caller is one of them
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // Calls work(what, 0), ..., work(what, pieces - 1), each once, and returns when all have ended.
  void each(int64_t pieces, Work work, const void* what);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

// The half-open range of `total` things that piece number `piece` of `pieces` has to do.
struct Range {
  int64_t first, last;
  int64_t size() const { return last - first; }
};
Range share(int64_t total, int piece, int pieces);

}  // namespace deltarule
