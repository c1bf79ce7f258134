// What the library says about itself.
#include <dnnl.hpp>

#include <string>

#include "handler.hpp"
#include "instructions.hpp"

namespace deltarule {

std::string& handler_names() {
  static std::string names;
  return names;
}

}  // namespace deltarule

// Returns for example "oneDNN 3.2.0, AVX-512 with bfloat16".
extern "C" __attribute__((visibility("default"))) const char* deltarule_describe() {
  static const std::string said = [] {
    const dnnl_version_t* version = dnnl_version();
    return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
           std::to_string(version->patch) + ", " +
           deltarule::instructions(static_cast<unsigned>(dnnl::get_effective_cpu_isa()));
  }();
  return said.c_str();
}

// Returns the names of all handlers, one a line.
extern "C" __attribute__((visibility("default"))) const char* deltarule_handlers() {
  return deltarule::handler_names().c_str();
}
