// Which of the compiled sets of instructions runs here.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "vector/isa.hpp"

namespace deltarule {
namespace {

Isa most() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return Isa::avx512;
  if (__builtin_cpu_supports("x86-64-v3")) return Isa::avx2;
#endif
  return Isa::baseline;
}

Isa wanted() {
  const char* set = std::getenv("DELTARULE_NATIVE_ISA");
  const std::string name = set ? set : "";
  return name == "baseline" ? Isa::baseline : name == "avx2" ? Isa::avx2 : Isa::avx512;
}

}  // namespace

Isa chosen_isa() {
  static const Isa chosen = std::min(most(), wanted());
  return chosen;
}

}  // namespace deltarule
