// Files in this folder are compiled once for each set of instructions the processor may have.
//
// Each puts what it exports into the namespace ISA (baseline, avx2, avx512) as one constant table
// of functions, and keeps everything else in an anonymous namespace. No header of the standard
// library that holds code (algorithm, vector, string) is included: the linker keeps one copy of an
// inline function, and it could be the one compiled for instructions this processor has not got.
// What is included has types and C functions only.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && !defined(DELTARULE_ONE_ISA)
#define DELTARULE_ISAS(declare) declare(baseline) declare(avx2) declare(avx512)
#else
#define DELTARULE_ISAS(declare) declare(baseline)
#endif

namespace deltarule {

enum class Isa { baseline, avx2, avx512 };

// The most this processor has, or what DELTARULE_NATIVE_ISA names if that is less; read once.
Isa chosen_isa();

// Whether the processor has matrix units for bfloat16 (AMX) that this process may use, unless
// DELTARULE_NATIVE_ISA names less; asked once.
bool has_matrix_units();

// The table for the processor that runs, of the three that were compiled.
#if defined(__x86_64__) && !defined(DELTARULE_ONE_ISA)
template <typename Table>
inline const Table& fastest(const Table& baseline, const Table& avx2, const Table& avx512) {
  switch (chosen_isa()) {
    case Isa::avx512: return avx512;
    case Isa::avx2: return avx2;
    default: return baseline;
  }
}
#define DELTARULE_FASTEST(name) \
  ::deltarule::fastest(::deltarule::baseline::name, ::deltarule::avx2::name, ::deltarule::avx512::name)
#else
#define DELTARULE_FASTEST(name) (::deltarule::baseline::name)
#endif

}  // namespace deltarule
