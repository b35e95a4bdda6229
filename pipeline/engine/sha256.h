// SHA-256 (FIPS 180-4), so that a bundle can be checked with nothing but libtorch and abseil at
// hand.
#pragma once

#include <string>
#include <string_view>

namespace reenact {

// 64 lower-case hexadecimal digits.
std::string Sha256Hex(std::string_view bytes);

}  // namespace reenact
