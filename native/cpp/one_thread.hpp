// While it lives, OpenMP gives this thread no helpers, so that oneDNN starts none.
#pragma once

#include <omp.h>

namespace deltarule {

class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }  // others use OpenMP in this thread too
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace deltarule
