#include "pipeline/models/config_json.h"

#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace reenact {
namespace {

using nlohmann::json;

// Reads the fields of one object, collecting the first problem, and then refuses the keys that were
// not asked for.
class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) Fail("is not an object");
  }

  void Read(const char* key, int64_t* value, bool required = true) {
    const json* found = Find(key, required);
    if (found == nullptr) return;
    if (!IsInteger(*found)) return Fail(absl::StrCat(key, " is not an integer"));
    *value = found->get<int64_t>();
  }
  void Read(const char* key, double* value) {
    const json* found = Find(key, /*required=*/false);
    if (found == nullptr) return;
    if (!found->is_number()) return Fail(absl::StrCat(key, " is not a number"));
    *value = found->get<double>();
  }
  void Read(const char* key, bool* value) {
    const json* found = Find(key, /*required=*/false);
    if (found == nullptr) return;
    if (!found->is_boolean()) return Fail(absl::StrCat(key, " is not true or false"));
    *value = found->get<bool>();
  }
  void Read(const char* key, std::vector<int64_t>* value) {
    const json* found = Find(key, /*required=*/true);
    if (found == nullptr) return;
    if (!found->is_array()) return Fail(absl::StrCat(key, " is not a list"));
    value->clear();
    for (const json& element : *found) {
      if (!IsInteger(element)) return Fail(absl::StrCat(key, " is not a list of integers"));
      value->push_back(element.get<int64_t>());
    }
  }
  void Read(const char* key, SourceTokens* value) {
    const json* found = Find(key, /*required=*/false);
    if (found == nullptr) return;
    if (*found == "none") {
      *value = SourceTokens::kNone;
    } else if (*found == "self") {
      *value = SourceTokens::kSelf;
    } else if (*found == "joint") {
      *value = SourceTokens::kJoint;
    } else {
      Fail(absl::StrCat(key, " is not none, self or joint"));
    }
  }
  // The object at `key`; an empty one if the problem is recorded.
  const json& Object(const char* key) {
    static const json empty = json::object();
    const json* found = Find(key, /*required=*/true);
    return found == nullptr ? empty : *found;
  }

  absl::Status Finish() {
    if (status_.ok() && seen_ < object_.size()) {
      for (const auto& item : object_.items()) {
        if (!known_.contains(item.key())) {
          Fail(absl::StrCat("has an unknown key \"", item.key(), "\""));
        }
      }
    }
    return status_;
  }

 private:
  static bool IsInteger(const json& value) {
    if (value.is_number_unsigned()) {
      return value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    }
    return value.is_number_integer();
  }

  const json* Find(const char* key, bool required) {
    known_.insert(key);
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    if (found == object_.end()) {
      if (required) Fail(absl::StrCat("lacks ", key));
      return nullptr;
    }
    ++seen_;
    return &*found;
  }

  void Fail(const std::string& problem) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat(where_, ": ", problem));
    }
  }

  const json& object_;
  const std::string where_;
  std::set<std::string> known_;
  size_t seen_ = 0;
  absl::Status status_;
};

const char* Name(SourceTokens source) {
  switch (source) {
    case SourceTokens::kNone:
      return "none";
    case SourceTokens::kSelf:
      return "self";
    case SourceTokens::kJoint:
      return "joint";
  }
  return "";
}

}  // namespace

json ToJson(const SDiTConfig& config) {
  return {{"latent_channels", config.latent_channels},
          {"latent_size", config.latent_size},
          {"patch_size", config.patch_size},
          {"hidden_size", config.hidden_size},
          {"depth", config.depth},
          {"num_heads", config.num_heads},
          {"num_frames", config.num_frames},
          {"clip_dim", config.clip_dim},
          {"mapping_blocks", config.mapping_blocks},
          {"num_landmarks", config.num_landmarks},
          {"learn_sigma", config.learn_sigma},
          {"source", Name(config.source)},
          {"landmark_map", config.landmark_map},
          {"landmark_map_frequencies", config.landmark_map_frequencies},
          {"landmark_map_openings", config.landmark_map_openings},
          {"identity_change", config.identity_change}};
}

json ToJson(const AutoencoderKLConfig& config) {
  return {{"in_channels", config.in_channels},
          {"latent_channels", config.latent_channels},
          {"block_out_channels", config.block_out_channels},
          {"layers_per_block", config.layers_per_block},
          {"norm_num_groups", config.norm_num_groups},
          {"scaling_factor", config.scaling_factor}};
}

json ToJson(const ClipConfig& config) {
  const auto& vision = config.vision;
  const auto& text = config.text;
  return {{"projection_dim", config.projection_dim},
          {"vision",
           {{"hidden_size", vision.hidden_size},
            {"image_size", vision.image_size},
            {"intermediate_size", vision.intermediate_size},
            {"num_attention_heads", vision.num_attention_heads},
            {"num_hidden_layers", vision.num_hidden_layers},
            {"patch_size", vision.patch_size}}},
          {"text",
           {{"hidden_size", text.hidden_size},
            {"intermediate_size", text.intermediate_size},
            {"num_attention_heads", text.num_attention_heads},
            {"num_hidden_layers", text.num_hidden_layers},
            {"vocab_size", text.vocab_size},
            {"max_position_embeddings", text.max_position_embeddings},
            {"bos_token_id", text.bos_token_id},
            {"eos_token_id", text.eos_token_id}}}};
}

absl::StatusOr<SDiTConfig> SDiTConfigFromJson(const json& object) {
  SDiTConfig config;
  Fields fields(object, "sdit");
  fields.Read("latent_channels", &config.latent_channels, /*required=*/false);
  fields.Read("latent_size", &config.latent_size);
  fields.Read("patch_size", &config.patch_size);
  fields.Read("hidden_size", &config.hidden_size);
  fields.Read("depth", &config.depth);
  fields.Read("num_heads", &config.num_heads);
  fields.Read("num_frames", &config.num_frames);
  fields.Read("clip_dim", &config.clip_dim);
  fields.Read("mapping_blocks", &config.mapping_blocks, /*required=*/false);
  fields.Read("num_landmarks", &config.num_landmarks, /*required=*/false);
  fields.Read("learn_sigma", &config.learn_sigma);
  fields.Read("source", &config.source);
  fields.Read("landmark_map", &config.landmark_map);
  fields.Read("landmark_map_frequencies", &config.landmark_map_frequencies, /*required=*/false);
  fields.Read("landmark_map_openings", &config.landmark_map_openings);
  fields.Read("identity_change", &config.identity_change);
  if (absl::Status status = fields.Finish(); !status.ok()) return status;
  if (absl::Status status = Validate(config); !status.ok()) return status;
  return config;
}

absl::StatusOr<AutoencoderKLConfig> AutoencoderKLConfigFromJson(const json& object) {
  AutoencoderKLConfig config;
  Fields fields(object, "autoencoder");
  fields.Read("in_channels", &config.in_channels, /*required=*/false);
  fields.Read("latent_channels", &config.latent_channels, /*required=*/false);
  fields.Read("block_out_channels", &config.block_out_channels);
  fields.Read("layers_per_block", &config.layers_per_block, /*required=*/false);
  fields.Read("norm_num_groups", &config.norm_num_groups, /*required=*/false);
  fields.Read("scaling_factor", &config.scaling_factor);
  if (absl::Status status = fields.Finish(); !status.ok()) return status;
  if (absl::Status status = Validate(config); !status.ok()) return status;
  return config;
}

absl::StatusOr<ClipConfig> ClipConfigFromJson(const json& object) {
  ClipConfig config;
  Fields fields(object, "clip");
  fields.Read("projection_dim", &config.projection_dim);
  Fields vision(fields.Object("vision"), "clip.vision");
  vision.Read("hidden_size", &config.vision.hidden_size);
  vision.Read("image_size", &config.vision.image_size);
  vision.Read("intermediate_size", &config.vision.intermediate_size);
  vision.Read("num_attention_heads", &config.vision.num_attention_heads);
  vision.Read("num_hidden_layers", &config.vision.num_hidden_layers);
  vision.Read("patch_size", &config.vision.patch_size);
  Fields text(fields.Object("text"), "clip.text");
  text.Read("hidden_size", &config.text.hidden_size);
  text.Read("intermediate_size", &config.text.intermediate_size);
  text.Read("num_attention_heads", &config.text.num_attention_heads);
  text.Read("num_hidden_layers", &config.text.num_hidden_layers);
  text.Read("vocab_size", &config.text.vocab_size);
  text.Read("max_position_embeddings", &config.text.max_position_embeddings, /*required=*/false);
  text.Read("bos_token_id", &config.text.bos_token_id);
  text.Read("eos_token_id", &config.text.eos_token_id);
  for (Fields* part : {&fields, &vision, &text}) {
    if (absl::Status status = part->Finish(); !status.ok()) return status;
  }
  if (absl::Status status = Validate(config); !status.ok()) return status;
  return config;
}

}  // namespace reenact
