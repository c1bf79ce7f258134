// What the library says about itself.
#include <dnnl.hpp>

#include <string>

#include "handler.hpp"

namespace deltarule {

std::string& handler_names() {
  static std::string names;
  return names;
}

}  // namespace deltarule

namespace {

const char* instructions() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx512_core_amx: return "AMX";
    case dnnl::cpu_isa::avx512_core_fp16: return "AVX-512 with fp16";
    case dnnl::cpu_isa::avx512_core_bf16: return "AVX-512 with bfloat16";
    case dnnl::cpu_isa::avx512_core_vnni:
    case dnnl::cpu_isa::avx512_core: return "AVX-512";
    case dnnl::cpu_isa::avx2_vnni:
    case dnnl::cpu_isa::avx2: return "AVX2";
    default: return "no wide vectors";
  }
}

}  // namespace

// Returns for example "oneDNN 3.2.0, AVX-512 with bfloat16".
extern "C" __attribute__((visibility("default"))) const char* deltarule_describe() {
  static const std::string said = [] {
    const dnnl_version_t* version = dnnl_version();
    return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
           std::to_string(version->patch) + ", " + instructions();
  }();
  return said.c_str();
}

// Returns the names of all handlers, one a line.
extern "C" __attribute__((visibility("default"))) const char* deltarule_handlers() {
  return deltarule::handler_names().c_str();
}
