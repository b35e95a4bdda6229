// Numbers that may be missing or not finite, for which JSON has no form. Pure functions,
// thread-safe.
#pragma once

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

namespace reenact {

// null, "inf", "-inf", "nan", or a number that is read back to the bit.
inline nlohmann::ordered_json NumberToJson(const std::optional<double>& value) {
  if (!value.has_value()) return nullptr;
  if (std::isfinite(*value)) return *value;
  if (std::isnan(*value)) return "nan";
  return *value > 0 ? "inf" : "-inf";
}

// Throws nlohmann::json::exception where NumberToJson() did not write it.
inline std::optional<double> NumberFrom(const nlohmann::ordered_json& json) {
  if (json.is_null()) return std::nullopt;
  if (!json.is_string()) return json.get<double>();
  if (json == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (json == "inf") return std::numeric_limits<double>::infinity();
  if (json == "-inf") return -std::numeric_limits<double>::infinity();
  return json.get<double>();  // a text, which throws
}

}  // namespace reenact
