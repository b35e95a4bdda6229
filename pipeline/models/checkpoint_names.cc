#include "pipeline/models/checkpoint_names.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace reenact {
namespace {

using torch::Tensor;

bool Contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

bool AnyStartsWith(const StateDictMap& tensors, const std::string& prefix) {
  const auto first = tensors.lower_bound(prefix);
  return first != tensors.end() && first->first.starts_with(prefix);
}

// The number after "decoder.up.", or -1.
int DecoderStage(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '.');
  int stage = -1;
  if (parts.size() > 3 && parts[0] == "decoder" && parts[1] == "up" &&
      !absl::SimpleAtoi(parts[2], &stage)) {
    return -1;
  }
  return stage;
}

// One latent-diffusion name in diffusers' form. `num_stages`: how many resolutions the decoder has,
// which the two layouts count from opposite ends.
std::string FromLatentDiffusion(const std::string& name, int num_stages) {
  std::vector<std::string> parts = absl::StrSplit(name, '.');
  if (const int stage = DecoderStage(name); stage >= 0) {
    parts[2] = absl::StrCat(num_stages - 1 - stage);
  }
  std::string result = absl::StrJoin(parts, ".");
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"encoder.down.", "encoder.down_blocks."},
           {"decoder.up.", "decoder.up_blocks."},
           {".mid.block_1.", ".mid_block.resnets.0."},
           {".mid.block_2.", ".mid_block.resnets.1."},
           {".mid.attn_1.norm.", ".mid_block.attentions.0.group_norm."},
           {".mid.attn_1.q.", ".mid_block.attentions.0.to_q."},
           {".mid.attn_1.k.", ".mid_block.attentions.0.to_k."},
           {".mid.attn_1.v.", ".mid_block.attentions.0.to_v."},
           {".mid.attn_1.proj_out.", ".mid_block.attentions.0.to_out.0."},
           {".block.", ".resnets."},
           {".downsample.", ".downsamplers.0."},
           {".upsample.", ".upsamplers.0."},
           {".nin_shortcut.", ".conv_shortcut."},
           {".norm_out.", ".conv_norm_out."}}) {
    absl::StrReplaceAll({{from, to}}, &result);
  }
  return result;
}

std::string NewAttentionNames(std::string name) {
  absl::StrReplaceAll({{".attentions.0.query.", ".attentions.0.to_q."},
                       {".attentions.0.key.", ".attentions.0.to_k."},
                       {".attentions.0.value.", ".attentions.0.to_v."},
                       {".attentions.0.proj_attn.", ".attentions.0.to_out.0."}},
                      &name);
  return name;
}

// One tensor of openai/CLIP under transformers' names: mostly a change of name, but q, k and v are
// stored as one, and the projections transposed.
void AddFromOpenAi(const std::string& name, const Tensor& tensor, StateDictMap* result) {
  if (name == "input_resolution" || name == "context_length" || name == "vocab_size") return;
  if (name.ends_with(".attn_mask")) return;  // the archives hold the causal mask in every layer
  if (name == "visual.proj" || name == "text_projection") {
    const char* to = name == "visual.proj" ? "visual_projection.weight" : "text_projection.weight";
    result->emplace(to, tensor.dim() == 2 ? tensor.t() : tensor);
    return;
  }
  const bool vision = name.starts_with("visual.");
  const std::string tower = vision ? "vision_model." : "text_model.";
  std::string rest = vision ? name.substr(std::string_view("visual.").size()) : name;
  if (rest == "positional_embedding") rest = "embeddings.position_embedding.weight";
  if (rest == "class_embedding") rest = "embeddings.class_embedding";
  absl::StrReplaceAll({{"transformer.resblocks.", "encoder.layers."},
                       {".ln_1.", ".layer_norm1."},
                       {".ln_2.", ".layer_norm2."},
                       {".mlp.c_fc.", ".mlp.fc1."},
                       {".mlp.c_proj.", ".mlp.fc2."},
                       {".attn.out_proj.", ".self_attn.out_proj."},
                       {"conv1.weight", "embeddings.patch_embedding.weight"},
                       {"token_embedding.weight", "embeddings.token_embedding.weight"},
                       {"ln_pre.", "pre_layrnorm."},
                       {"ln_post.", "post_layernorm."},
                       {"ln_final.", "final_layer_norm."}},
                      &rest);
  const size_t joined = rest.find(".attn.in_proj_");
  if (name == "logit_scale") {
    result->emplace(name, tensor);
  } else if (joined == std::string::npos || tensor.dim() < 1 || tensor.size(0) % 3 != 0) {
    result->emplace(tower + rest, tensor);
  } else {
    const std::string layer = tower + rest.substr(0, joined);
    const std::string kind = rest.substr(joined + std::string_view(".attn.in_proj_").size());
    const auto thirds = tensor.chunk(3, 0);
    const char* const names[] = {"q", "k", "v"};
    for (size_t i = 0; i < 3; ++i) {
      result->emplace(absl::StrCat(layer, ".self_attn.", names[i], "_proj.", kind), thirds[i]);
    }
  }
}

constexpr char kDiffusersBlocks[] = "transformer_blocks.";

// diffusers' names for the embedders, after "transformer_blocks.i.norm1.emb."; "" if unknown.
std::string FromDiffusersEmbedder(const std::string& rest) {
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"timestep_embedder.linear_1.", "t_embedder.mlp.0."},
           {"timestep_embedder.linear_2.", "t_embedder.mlp.2."},
           {"class_embedder.", "y_embedder."}}) {
    if (rest.starts_with(from)) return to + rest.substr(from.size());
  }
  return "";
}

bool HasShapeOf(const StateDictMap& tensors, const std::string& name, const Tensor& other) {
  const auto found = tensors.find(name);
  return found != tensors.end() && found->second.sizes() == other.sizes();
}

// One tensor of a diffusers block under DiT's names. What does not fit keeps its name.
void AddFromDiffusersBlock(const StateDictMap& tensors, const std::string& name,
                           const Tensor& tensor, StateDictMap* result) {
  constexpr std::string_view kEmbedders = "norm1.emb.";
  const size_t dot = name.find('.', std::string_view(kDiffusersBlocks).size());
  if (dot == std::string::npos) {
    result->emplace(name, tensor);
    return;
  }
  const std::string before = name.substr(0, dot + 1);
  const std::string block = before.substr(std::string_view("transformer_").size());
  const std::string rest = name.substr(dot + 1);
  if (rest.starts_with(kEmbedders)) {
    const std::string embedder = FromDiffusersEmbedder(rest.substr(kEmbedders.size()));
    if (embedder.empty()) {
      result->emplace(name, tensor);
    } else if (!HasShapeOf(*result, embedder, tensor) ||
               !torch::equal(result->at(embedder), tensor)) {
      result->emplace(result->contains(embedder) ? name : embedder, tensor);
    }
    return;
  }
  if (rest.starts_with("attn1.to_") && !rest.starts_with("attn1.to_out")) {
    const std::string kind = rest.substr(rest.rfind('.') + 1);
    const std::string q = before + "attn1.to_q." + kind, k = before + "attn1.to_k." + kind,
                      v = before + "attn1.to_v." + kind;
    if (tensor.dim() == 0 || !HasShapeOf(tensors, q, tensor) || !HasShapeOf(tensors, k, tensor) ||
        !HasShapeOf(tensors, v, tensor)) {
      result->emplace(name, tensor);
    } else if (name == q) {
      result->emplace(block + "attn.qkv." + kind,
                      torch::cat({tensor, tensors.at(k), tensors.at(v)}, 0));
    }
    return;
  }
  std::string renamed = block + rest;
  absl::StrReplaceAll({{"attn1.to_out.0.", "attn.proj."},
                       {"ff.net.0.proj.", "mlp.fc1."},
                       {"ff.net.2.", "mlp.fc2."},
                       {"norm1.linear.", "adaLN_modulation.1."}},
                      &renamed);
  result->emplace(renamed, tensor);
}

}  // namespace

StateDictMap AutoencoderKLNames(const StateDictMap& tensors) {
  StateDictMap own;
  const std::string prefix = "first_stage_model.";
  if (AnyStartsWith(tensors, prefix)) {
    for (const auto& [name, tensor] : tensors) {
      if (name.starts_with(prefix)) own.emplace(name.substr(prefix.size()), tensor);
    }
  } else {
    for (const auto& [name, tensor] : tensors) {
      if (!name.starts_with("loss.") && !name.starts_with("model_ema.")) own.emplace(name, tensor);
    }
  }
  int num_stages = 0;
  for (const auto& [name, tensor] : own) num_stages = std::max(num_stages, DecoderStage(name) + 1);

  StateDictMap result;
  for (const auto& [name, tensor] : own) {
    const std::string renamed =
        NewAttentionNames(num_stages > 0 ? FromLatentDiffusion(name, num_stages) : name);
    // Latent diffusion stores the attention's linear layers as 1 x 1 convolutions.
    const bool convolution = Contains(renamed, ".attentions.0.") && tensor.dim() == 4 &&
                             tensor.size(2) == 1 && tensor.size(3) == 1;
    result.emplace(renamed, convolution ? tensor.flatten(1) : tensor);
  }
  return result;
}

StateDictMap ClipNames(const StateDictMap& tensors) {
  StateDictMap result;
  const bool openai = tensors.contains("visual.conv1.weight");
  for (const auto& [name, tensor] : tensors) {
    if (name.ends_with(".position_ids")) continue;
    if (openai) {
      AddFromOpenAi(name, tensor, &result);
    } else {
      result.emplace(name, tensor);
    }
  }
  return result;
}

StateDictMap DiTNames(const StateDictMap& tensors) {
  if (!AnyStartsWith(tensors, kDiffusersBlocks)) return tensors;
  StateDictMap result;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(kDiffusersBlocks)) {
      AddFromDiffusersBlock(tensors, name, tensor, &result);
      continue;
    }
    std::string renamed = name;
    for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
             {"pos_embed.proj.", "x_embedder.proj."},
             {"proj_out_1.", "final_layer.adaLN_modulation.1."},
             {"proj_out_2.", "final_layer.linear."}}) {
      if (name.starts_with(from)) renamed = to + name.substr(from.size());
    }
    result.emplace(renamed, tensor);
  }
  return result;
}

StateDictMap SDiTFromDiT(const StateDictMap& tensors) {
  StateDictMap result;
  for (const auto& [name, tensor] : tensors) {
    if (!name.starts_with("y_embedder.")) result.emplace(name, tensor);
  }
  return result;
}

}  // namespace reenact
