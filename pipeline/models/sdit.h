// sDiT: the sequence diffusion transformer of "Anchored Diffusion for Video Face Reenactment"
// (sections 3 and 4.1), on the layers of DiT. Where the paper is silent: joint unmasked attention
// over a row's frames, the temporal table added once beside the spatial one, c = t_emb + C per
// frame.
//
// Beyond the paper, both off by default: source tokens (the clean source picture as tokens that the
// frames attend to) and a landmark position map added to the tokens.
//
// Legend: B rows, T frames of a row, S tokens of a frame, D hidden size, C latent channels,
// h = w latent side. Thread-compatible.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/models/dit_layers.h"
#include "torch/torch.h"

namespace reenact {

// kNone: the paper. kSelf: source tokens attend only to themselves, so they are constant during a
// job, and the frames attend to them. kJoint: the source is one more frame of the joint attention.
enum class SourceTokens { kNone, kSelf, kJoint };

// Cells of one token in a landmark map, and its numbers: each cell is (mask, x, y). As many again
// follow with landmark_map_openings: (eye, iris, mouth).
inline constexpr int64_t kLandmarkMapCells = 64;
inline constexpr int64_t kLandmarkMapChannels = 3 * kLandmarkMapCells;

struct SDiTConfig {
  int64_t latent_channels = 4;
  int64_t latent_size = 0;
  int64_t patch_size = 0;
  int64_t hidden_size = 0;
  int64_t depth = 0;
  int64_t num_heads = 0;
  int64_t num_frames = 0;  // T
  int64_t clip_dim = 0;
  int64_t mapping_blocks = 4;
  int64_t num_landmarks = 478;
  bool learn_sigma = true;
  SourceTokens source = SourceTokens::kNone;
  bool landmark_map = false;
  int64_t landmark_map_frequencies = 0;  // see LandmarkMapFeatures()
  bool landmark_map_openings = false;    // maps have OpeningMap() behind LandmarkMap()
  bool identity_change = false;          // G has behind it how far it is from the source's own

  int64_t out_channels() const { return learn_sigma ? 2 * latent_channels : latent_channels; }
  int64_t tokens_side() const { return latent_size / patch_size; }
  // Numbers of what map() takes as G, IdentityInput().
  int64_t identity_width() const { return identity_change ? 2 * clip_dim : clip_dim; }
  // Numbers of a token in the landmark maps of the input.
  int64_t landmark_map_channels() const {
    return landmark_map_openings ? 2 * kLandmarkMapChannels : kLandmarkMapChannels;
  }
  // What is embedded of them.
  int64_t landmark_map_width() const {
    return landmark_map_channels() + 4 * kLandmarkMapCells * landmark_map_frequencies;
  }
};
// kInvalidArgument names the field.
absl::Status Validate(const SDiTConfig& config);

// The source's keys and values in every block (kSelf): constant while a job runs.
struct SourceTrace {
  std::vector<KeyValues> blocks;
};

// What is embedded of a landmark map [..., 192 or 384]: the map itself, then for each of the
// frequencies f = 1, 2, 4, ... of every cell sin(2 pi f x), sin(2 pi f y), cos(2 pi f x) and
// cos(2 pi f y), 0 outside the mesh (Fourier features, Tancik et al. 2020): what is finer than a
// token is hardly learned from the places alone. -> [..., as many + 256 * frequencies]
torch::Tensor LandmarkMapFeatures(const torch::Tensor& map, int64_t frequencies);

// What map() takes as G [..., clip_dim]: G itself and, with identity_change, G - `of_source`, the
// embedding of the picture that the source tokens show; zeros without one. Where G is the
// picture's own, nothing of it is to change: from G alone a network has to guess that, and the
// more edits it learns, the less it keeps of what a source shows. -> [..., identity_width()]
torch::Tensor IdentityInput(const SDiTConfig& config, const torch::Tensor& G,
                            const std::optional<torch::Tensor>& of_source);

// What the configuration calls for must be there (std::bad_optional_access); what it does not is
// ignored.
struct SDiTInput {
  // All but t and the mask in the dtype of the weights.
  torch::Tensor x;  // [B, T, C, h, w], noisy
  torch::Tensor t;  // [B] int64, the training timestep
  torch::Tensor C;  // [B, T, D], from map()

  // With source tokens, for B rows or one for all: the clean scaled latent [C, h, w] of the source
  // and map() of the source's own landmarks [D]. Or, for kSelf, what trace_source() made of them.
  std::optional<torch::Tensor> source_latent = std::nullopt;  // [B or 1, C, h, w]
  std::optional<torch::Tensor> source_C = std::nullopt;       // [B or 1, D]
  std::optional<SourceTrace> source_trace = std::nullopt;
  // [B] bool: false hides a row's source tokens from everyone (a source that is text). By default
  // all are seen.
  std::optional<torch::Tensor> source_mask = std::nullopt;

  // With landmark maps.
  std::optional<torch::Tensor> landmark_map = std::nullopt;  // [B, T, S, landmark_map_channels()]
  // [B or 1, S, landmark_map_channels()], if there are source tokens.
  std::optional<torch::Tensor> source_landmark_map = std::nullopt;
};

// The mapping network: identity G and landmarks L to a condition per frame.
class MappingImpl : public torch::nn::Module {
 public:
  MappingImpl(int64_t identity_width, int64_t num_landmarks, int64_t hidden_size,
              int64_t num_blocks);
  torch::Tensor project(const torch::Tensor& G, const torch::Tensor& L);
  torch::Tensor forward(const torch::Tensor& h);

  torch::nn::Linear clip_proj() const { return clip_proj_; }
  torch::nn::Linear lmk_proj() const { return lmk_proj_; }

 private:
  torch::nn::Linear clip_proj_, lmk_proj_;
  torch::nn::ModuleList blocks_;
  torch::nn::LayerNorm norm_out_;
  torch::nn::Linear out_;
};
TORCH_MODULE(Mapping);

class SDiTImpl : public torch::nn::Module {
 public:
  // `config` must be valid.
  explicit SDiTImpl(const SDiTConfig& config);

  // -> [B, T, out_channels, h, w]. With `anchor_slot` a, frame a of every row is row 0's: its
  // latents, its tokens before the first and after every block, and its output (Override below).
  // The rows' C at slot a must then be equal already. `trace`, if given, receives the tokens [B, T,
  // S, D] before block 0 and after each block.
  torch::Tensor forward(const SDiTInput& input, std::optional<int64_t> anchor_slot = std::nullopt,
                        std::vector<torch::Tensor>* trace = nullptr);

  // G [B, identity_width()], L [B, T, 3 * num_landmarks] -> C [B, T, D]. null_identity() and
  // null_lmk() stand for a dropped G or L.
  torch::Tensor map(const torch::Tensor& G, const torch::Tensor& L);
  // map() after its two input layers: h = clip_proj(G) + lmk_proj(L), [B, T, D].
  torch::Tensor map_projected(const torch::Tensor& h);

  // For SourceTokens::kSelf; arguments as in SDiTInput.
  SourceTrace trace_source(const torch::Tensor& source_latent, const torch::Tensor& source_C,
                           const std::optional<torch::Tensor>& source_landmark_map = std::nullopt);

  // --- The parts of forward(), for executors (row_executor.h) ---

  // A picture's tokens without its temporal position: [N, C, h, w] -> [N, S, D].
  torch::Tensor embed(const torch::Tensor& x, const std::optional<torch::Tensor>& landmark_map);
  // The same without the landmark map's part, which is added to it.
  torch::Tensor embed_picture(const torch::Tensor& x);
  // That part: [..., landmark_map_channels()], in any floating-point type -> [..., D].
  torch::Tensor embed_map(const torch::Tensor& landmark_map);
  // The source as one frame: tokens [B or 1, 1, S, D] and condition [B or 1, 1, D].
  struct Source {
    torch::Tensor x, c;
  };
  Source embed_source(const torch::Tensor& latent, const torch::Tensor& C,
                      const std::optional<torch::Tensor>& landmark_map);

  const std::vector<DiTBlock>& blocks() const { return blocks_; }
  FinalLayer final_layer() const { return final_layer_; }
  torch::Tensor temporal_pos_embed() const { return temporal_pos_embed_; }  // [1, T, D]

  torch::Tensor null_clip() const { return null_clip_; }  // [clip_dim]
  torch::Tensor null_identity() const;                    // IdentityInput() of it, without a source
  torch::Tensor null_lmk() const { return null_lmk_; }    // [3 * num_landmarks]
  Mapping mapping() const { return mapping_; }
  TimestepEmbedder t_embedder() const { return t_embedder_; }
  const SDiTConfig& config() const { return config_; }

 private:
  // Which keys may be attended to, [B, 1, 1, num_frame_tokens + S]; undefined if all.
  torch::Tensor source_key_mask(const SDiTInput& input, int64_t num_frame_tokens) const;

  const SDiTConfig config_;
  PatchEmbed x_embedder_{nullptr};
  TimestepEmbedder t_embedder_{nullptr};
  Mapping mapping_{nullptr};
  std::vector<DiTBlock> blocks_;
  FinalLayer final_layer_{nullptr};
  torch::nn::Linear map_embedder_{nullptr};  // only with landmark_map
  torch::Tensor pos_embed_;                  // [1, S, D]
  torch::Tensor temporal_pos_embed_;         // [1, T, D]
  torch::Tensor null_clip_, null_lmk_;
  torch::Tensor source_embed_, source_pos_;  // [D], only with source tokens
};
TORCH_MODULE(SDiT);

// X [B, T, ...] with X[b, slot] = X[0, slot] for every b; a copy unless B is 1.
torch::Tensor Override(const torch::Tensor& X, int64_t slot);

// DiT's initialisation for the backbone; for the mapping network, the landmark map's layer and the
// null and source vectors truncated N(0, 0.02) with zero biases. A fresh model's output is 0. Draws
// from torch's default generator.
void InitializeWeights(SDiT& model);

}  // namespace reenact
