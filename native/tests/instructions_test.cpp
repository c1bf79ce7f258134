// Every set of instructions that oneDNN knows has a name, and so has one that it does not know yet.
#include "instructions.hpp"

#include <cstring>
#include <dnnl.hpp>

#include "check.hpp"

using dnnl::cpu_isa;

namespace {

bool is_called(unsigned set, const char* name) {
  return std::strcmp(deltarule::instructions(set), name) == 0;
}
bool is_called(cpu_isa set, const char* name) {
  return is_called(static_cast<unsigned>(set), name);
}

void test_sets_that_onednn_knows() {
  check(is_called(cpu_isa::sse41, "no wide vectors"));
  check(is_called(cpu_isa::avx, "no wide vectors"));
  check(is_called(cpu_isa::avx2, "AVX2"));
  check(is_called(cpu_isa::avx2_vnni, "AVX2"));
  check(is_called(cpu_isa::avx512_core, "AVX-512"));
  check(is_called(cpu_isa::avx512_core_vnni, "AVX-512"));
  check(is_called(cpu_isa::avx512_core_bf16, "AVX-512 with bfloat16"));
  check(is_called(cpu_isa::avx512_core_fp16, "AVX-512 with fp16"));
  check(is_called(cpu_isa::avx512_core_amx, "AMX"));
  check(is_called(cpu_isa::avx512_core_amx_fp16, "AMX"));
}

void test_a_set_to_come_is_called_by_what_it_contains() {
  const auto amx = static_cast<unsigned>(cpu_isa::avx512_core_amx);
  check(is_called(amx | 0x10000, "AMX"));
}

}  // namespace

int main() {
  test_sets_that_onednn_knows();
  test_a_set_to_come_is_called_by_what_it_contains();
}
