// What oneDNN's sets of instructions are called.
#pragma once

namespace deltarule {

// The name of a set given as oneDNN's number for it, which has a bit for each part: a set that came
// after this list is called by the most of it that it contains.
inline const char* instructions(unsigned set) {
  constexpr struct {
    unsigned parts;
    const char* name;
  } known[] = {{0xfef, "AMX"},
               {0x1ef, "AVX-512 with fp16"},
               {0xe7, "AVX-512 with bfloat16"},
               {0x27, "AVX-512"},
               {0x7, "AVX2"}};
  for (const auto& each : known)
    if ((set & each.parts) == each.parts) return each.name;
  return "no wide vectors";
}

}  // namespace deltarule
