// Network configurations as JSON: the "sdit", "autoencoder" and "clip" objects of a bundle. Keys
// are the fields' names; "source" is "none", "self" or "joint". Pure functions, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/clip.h"
#include "pipeline/models/sdit.h"

namespace reenact {

nlohmann::json ToJson(const SDiTConfig& config);
nlohmann::json ToJson(const AutoencoderKLConfig& config);
nlohmann::json ToJson(const ClipConfig& config);

// Fields with a default may be absent; unknown keys, wrong types and values that Validate refuses
// are kInvalidArgument.
absl::StatusOr<SDiTConfig> SDiTConfigFromJson(const nlohmann::json& json);
absl::StatusOr<AutoencoderKLConfig> AutoencoderKLConfigFromJson(const nlohmann::json& json);
absl::StatusOr<ClipConfig> ClipConfigFromJson(const nlohmann::json& json);

}  // namespace reenact
