// Which of the compiled sets of instructions runs here.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "vector/isa.hpp"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

#if defined(__x86_64__) && defined(__linux__)
#ifdef DELTARULE_MODELLED_TILES
constexpr bool kModelled = true;  // by tiles/model.hpp, which needs no units
#else
constexpr bool kModelled = false;
#endif

struct Registers {
  unsigned a, b, c, d;
};
Registers features(unsigned part) {  // of the processor; none where it does not say
  Registers of{};
  __get_cpuid_count(7, part, &of.a, &of.b, &of.c, &of.d);
  return of;
}

bool matrix_units() {
  constexpr unsigned kProducts = 1u << 22, kTiles = 1u << 24;  // AMX_BF16, AMX_TILE
  constexpr unsigned kRounding = 1u << 5;                      // AVX512_BF16
  constexpr int kAsk = 0x1023, kTileData = 18;                 // ARCH_REQ_XCOMP_PERM
  if (!(features(1).a & kRounding)) return false;
  const unsigned units = features(0).d;
  return kModelled || ((units & kProducts) && (units & kTiles) &&
                       syscall(SYS_arch_prctl, kAsk, kTileData) == 0);
}
#else
bool matrix_units() { return false; }
#endif

}  // namespace

Isa chosen_isa() {
  static const Isa chosen = std::min(most(), wanted());
  return chosen;
}

bool has_matrix_units() {
  static const bool has = chosen_isa() == Isa::avx512 && matrix_units();
  return has;
}

}  // namespace deltarule
