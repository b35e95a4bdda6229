#include "pipeline/models/checkpoint_shapes.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "pipeline/weights/load.h"

namespace reenact {
namespace {

using nlohmann::json;
using Tensors = std::map<std::string, torch::Tensor>;

constexpr int64_t kClipHeadSize = 64;
// Numbered lists of equal modules, which the shallow configurations cut to one.
constexpr std::string_view kLists[] = {"blocks.", "mapping.blocks.", "vision_model.encoder.layers.",
                                       "text_model.encoder.layers."};

// Where the number in `name` begins, after one of kLists; npos if there is none.
size_t NumberIn(const std::string& name) {
  for (const std::string_view list : kLists) {
    if (name.starts_with(list)) return list.size();
  }
  return std::string::npos;
}

// How many numbers follow `prefix`: one more than the highest.
int64_t CountIn(const Tensors& tensors, const std::string& prefix) {
  int64_t count = 0;
  for (auto it = tensors.lower_bound(prefix); it != tensors.end() && it->first.starts_with(prefix);
       ++it) {
    const std::string rest = it->first.substr(prefix.size());
    int64_t number = 0;
    if (absl::SimpleAtoi(rest.substr(0, rest.find('.')), &number) && number >= 0 &&
        number < 10'000) {
      count = std::max(count, number + 1);
    }
  }
  return count;
}

// Reads sizes, and remembers everything that is missing.
class Sizes {
 public:
  Sizes(const Tensors& tensors, const char* network) : tensors_(tensors), network_(network) {}

  // The size of a dimension of a tensor of `dims` dimensions; 0 and a problem if there is none.
  int64_t Get(const std::string& name, int64_t dims, int64_t dim) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      problems_.push_back(absl::StrCat("no ", name));
    } else if (found->second.dim() != dims) {
      problems_.push_back(absl::StrCat(name, " has shape [",
                                       absl::StrJoin(found->second.sizes(), ", "), "], not ", dims,
                                       " dimensions"));
    } else {
      return found->second.size(dim);
    }
    return 0;
  }
  void Add(std::string problem) { problems_.push_back(std::move(problem)); }
  bool ok() const { return problems_.empty(); }
  absl::Status status() const {
    if (ok()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("not a ", network_, ": ", absl::StrJoin(problems_, "; ")));
  }

 private:
  const Tensors& tensors_;
  const char* const network_;
  std::vector<std::string> problems_;
};

json ParseConfig(const std::string& text, const char* part = nullptr) {
  const json config = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return json::object();
  if (part == nullptr) return config;
  const auto found = config.find(part);
  return found != config.end() && found->is_object() ? *found : json::object();
}

int64_t Integer(const json& config, const char* key, int64_t fallback) {
  const auto found = config.find(key);
  return found != config.end() && found->is_number_integer() ? found->get<int64_t>() : fallback;
}

double Number(const json& config, const char* key, double fallback) {
  const auto found = config.find(key);
  return found != config.end() && found->is_number() ? found->get<double>() : fallback;
}

// The side of a square of `area`; 0 if it is not one.
int64_t Side(int64_t area) {
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(area))));
  return side * side == area ? side : 0;
}

// DiT-S, B, L and XL.
int64_t PublicHeads(int64_t hidden_size) {
  switch (hidden_size) {
    case 384:
      return 6;
    case 768:
      return 12;
    case 1024:
    case 1152:
      return 16;
    default:
      return 0;
  }
}

// What DiT and sDiT have in common.
template <typename Config>
Config BackboneFrom(const Tensors& tensors, int64_t num_heads, int64_t latent_size, Sizes& sizes) {
  Config config;
  config.hidden_size = sizes.Get("x_embedder.proj.weight", 4, 0);
  config.latent_channels = sizes.Get("x_embedder.proj.weight", 4, 1);
  config.patch_size = sizes.Get("x_embedder.proj.weight", 4, 2);
  config.depth = CountIn(tensors, "blocks.");
  if (config.depth == 0) sizes.Add("no blocks.0");
  const int64_t out = sizes.Get("final_layer.linear.weight", 2, 0);
  if (!sizes.ok()) return config;
  const int64_t patch = config.patch_size * config.patch_size;
  config.learn_sigma = out == 2 * patch * config.latent_channels;
  if (!config.learn_sigma && out != patch * config.latent_channels) {
    sizes.Add(absl::StrCat("final_layer.linear.weight has ", out, " rows, expected ",
                           2 * patch * config.latent_channels, " or half of it"));
  }
  config.num_heads = num_heads > 0 ? num_heads : PublicHeads(config.hidden_size);
  if (config.num_heads == 0) {
    sizes.Add(absl::StrCat("hidden size ", config.hidden_size,
                           " is of no public DiT: the number of heads must be given"));
  }
  config.latent_size = latent_size;
  if (tensors.contains("pos_embed")) {
    const int64_t tokens = sizes.Get("pos_embed", 3, 1);
    config.latent_size = Side(tokens) * config.patch_size;
    if (sizes.ok() && config.latent_size == 0) {
      sizes.Add(absl::StrCat("pos_embed has ", tokens, " positions, which is no square"));
    }
  }
  if (sizes.ok() && config.latent_size == 0) {
    sizes.Add("it stores no pos_embed: the size of its pictures must be given");
  }
  return config;
}

}  // namespace

absl::StatusOr<DiTConfig> DiTConfigFrom(const Tensors& tensors, const std::string& config_json,
                                        int64_t num_heads, int64_t latent_size) {
  const json file = ParseConfig(config_json);
  Sizes sizes(tensors, "DiT");
  auto config = BackboneFrom<DiTConfig>(
      tensors, num_heads > 0 ? num_heads : Integer(file, "num_attention_heads", 0),
      latent_size > 0 ? latent_size : Integer(file, "sample_size", 0), sizes);
  config.num_classes = sizes.Get("y_embedder.embedding_table.weight", 2, 0) - 1;
  if (!sizes.ok()) return sizes.status();
  if (absl::Status status = Validate(config); !status.ok()) return status;
  return config;
}

absl::StatusOr<SDiTConfig> SDiTConfigFrom(const Tensors& tensors, int64_t num_heads) {
  Sizes sizes(tensors, "sDiT");
  auto config = BackboneFrom<SDiTConfig>(tensors, num_heads, 0, sizes);
  config.num_frames = sizes.Get("temporal_pos_embed", 3, 1);
  const int64_t identity_width = sizes.Get("mapping.clip_proj.weight", 2, 1);
  config.clip_dim = sizes.Get("null_clip", 1, 0);
  config.identity_change = identity_width == 2 * config.clip_dim;
  config.num_landmarks = sizes.Get("mapping.lmk_proj.weight", 2, 1) / 3;
  config.mapping_blocks = CountIn(tensors, "mapping.blocks.");
  config.landmark_map = tensors.contains("map_embedder.weight");
  if (config.landmark_map) {
    const int64_t more = sizes.Get("map_embedder.weight", 2, 1) - kLandmarkMapChannels;
    config.landmark_map_frequencies = more / (4 * kLandmarkMapCells);
    config.landmark_map_openings = more % (4 * kLandmarkMapCells) == kLandmarkMapChannels;
  }
  config.source = tensors.contains("source_embed") ? SourceTokens::kSelf : SourceTokens::kNone;
  if (!sizes.ok()) return sizes.status();
  if (absl::Status status = Validate(config); !status.ok()) return status;
  return config;
}

absl::StatusOr<AutoencoderKLConfig> AutoencoderKLConfigFrom(const Tensors& tensors,
                                                            const std::string& config_json) {
  const json file = ParseConfig(config_json);
  Sizes sizes(tensors, "AutoencoderKL");
  AutoencoderKLConfig config;
  config.in_channels = sizes.Get("encoder.conv_in.weight", 4, 1);
  config.latent_channels = sizes.Get("quant_conv.weight", 4, 0) / 2;
  const int64_t num_stages = CountIn(tensors, "encoder.down_blocks.");
  if (num_stages == 0) sizes.Add("no encoder.down_blocks.0");
  for (int64_t i = 0; i < num_stages; ++i) {
    config.block_out_channels.push_back(
        sizes.Get(absl::StrCat("encoder.down_blocks.", i, ".resnets.0.conv1.weight"), 4, 0));
  }
  config.layers_per_block = CountIn(tensors, "encoder.down_blocks.0.resnets.");
  config.norm_num_groups = Integer(file, "norm_num_groups", 32);
  config.scaling_factor = Number(file, "scaling_factor", 0.18215);
  if (!sizes.ok()) return sizes.status();
  if (absl::Status status = Validate(config); !status.ok()) return status;
  return config;
}

absl::StatusOr<ClipConfig> ClipConfigFrom(const Tensors& tensors, const std::string& config_json) {
  const json vision_file = ParseConfig(config_json, "vision_config");
  const json text_file = ParseConfig(config_json, "text_config");
  Sizes sizes(tensors, "CLIP");
  ClipConfig config;
  config.projection_dim = sizes.Get("visual_projection.weight", 2, 0);

  auto& vision = config.vision;
  const std::string embeddings = "vision_model.embeddings.";
  vision.hidden_size = sizes.Get(embeddings + "patch_embedding.weight", 4, 0);
  vision.patch_size = sizes.Get(embeddings + "patch_embedding.weight", 4, 2);
  const int64_t positions = sizes.Get(embeddings + "position_embedding.weight", 2, 0);
  vision.image_size = Side(positions - 1) * vision.patch_size;
  if (sizes.ok() && vision.image_size == 0) {
    sizes.Add(absl::StrCat("the vision tower has ", positions, " positions, not 1 + a square"));
  }
  vision.num_hidden_layers = CountIn(tensors, "vision_model.encoder.layers.");
  vision.intermediate_size = sizes.Get("vision_model.encoder.layers.0.mlp.fc1.weight", 2, 0);
  vision.num_attention_heads =
      Integer(vision_file, "num_attention_heads", vision.hidden_size / kClipHeadSize);

  auto& text = config.text;
  text.vocab_size = sizes.Get("text_model.embeddings.token_embedding.weight", 2, 0);
  text.hidden_size = sizes.Get("text_model.embeddings.token_embedding.weight", 2, 1);
  text.max_position_embeddings = sizes.Get("text_model.embeddings.position_embedding.weight", 2, 0);
  text.num_hidden_layers = CountIn(tensors, "text_model.encoder.layers.");
  text.intermediate_size = sizes.Get("text_model.encoder.layers.0.mlp.fc1.weight", 2, 0);
  text.num_attention_heads =
      Integer(text_file, "num_attention_heads", text.hidden_size / kClipHeadSize);
  text.bos_token_id = text.vocab_size - 2;
  text.eos_token_id = text.vocab_size - 1;
  if (!sizes.ok()) return sizes.status();
  if (absl::Status status = Validate(config); !status.ok()) return status;
  return config;
}

SDiTConfig ShallowConfig(SDiTConfig config) {
  config.depth = std::min<int64_t>(config.depth, 1);
  config.mapping_blocks = std::min<int64_t>(config.mapping_blocks, 1);
  return config;
}

ClipConfig ShallowConfig(ClipConfig config) {
  config.vision.num_hidden_layers = std::min<int64_t>(config.vision.num_hidden_layers, 1);
  config.text.num_hidden_layers = std::min<int64_t>(config.text.num_hidden_layers, 1);
  return config;
}

std::string NameInFirstBlock(const std::string& name) {
  const size_t begin = NumberIn(name);
  if (begin == std::string::npos) return name;
  const size_t end = name.find('.', begin);
  if (end == std::string::npos) return name;
  return absl::StrCat(name.substr(0, begin), "0", name.substr(end));
}

namespace {

// The shapes of a module's tensors, with the lists in it repeated to the lengths of `counts`.
TensorShapes Repeat(const torch::nn::Module& shallow,
                    const std::map<std::string, int64_t>& counts) {
  TensorShapes shapes;
  for (const auto& [name, tensor] : StateDict(shallow)) {
    const std::vector<int64_t> shape = tensor.sizes().vec();
    const size_t begin = NumberIn(name);
    const auto count =
        begin == std::string::npos ? counts.end() : counts.find(name.substr(0, begin));
    if (count == counts.end()) {
      shapes[name] = shape;
      continue;
    }
    const std::string rest = name.substr(name.find('.', begin));
    for (int64_t i = 0; i < count->second; ++i) {
      shapes[absl::StrCat(count->first, i, rest)] = shape;
    }
  }
  return shapes;
}

}  // namespace

TensorShapes ShapesOf(const SDiTConfig& config) {
  const SDiT shallow(ShallowConfig(config));
  return Repeat(*shallow, {{"blocks.", config.depth}, {"mapping.blocks.", config.mapping_blocks}});
}

TensorShapes ShapesOf(const AutoencoderKLConfig& config) {
  const AutoencoderKL whole(config);
  return Repeat(*whole, {});
}

TensorShapes ShapesOf(const ClipConfig& config) {
  const Clip shallow(ShallowConfig(config));
  return Repeat(*shallow, {{"vision_model.encoder.layers.", config.vision.num_hidden_layers},
                           {"text_model.encoder.layers.", config.text.num_hidden_layers}});
}

}  // namespace reenact
