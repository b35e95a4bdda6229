// A change of G made visible in a source's tokens.
//
// The paper edits by changing G alone. Networks with source tokens (sdit.h) see the source's
// picture too, and believe it: with G changed and the tokens left as they are, nearly nothing of an
// edit shows. So the source's latent is moved by what the change of G does to a picture of the same
// face that the network makes without the tokens:
//
//   latent' = latent + s(G_after) - s(G_before)
//
// s(G) is the mean frame of one row that shows the source's own landmarks in every slot: DDIM from
// the same noise for both, source tokens hidden. What G does not tell of (and that is most of how a
// person looks) is the same in both and cancels; no change of G leaves the latent as it is.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "pipeline/diffusion/samplers.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/models/sdit.h"
#include "torch/torch.h"

namespace reenact {

struct SourceEditOptions {
  Prediction prediction = Prediction::kEpsilon;
  int num_train_steps = 1000;
  std::string schedule = "linear";
  // DDIM steps of each of the two rows: 2 to num_train_steps.
  int num_steps = 4;
  // Guidance of both rows. A network that mostly had tokens to look at follows G less than it
  // could; 2 makes edits of the demo people as strong as their texts say.
  double guidance_scale = 2;
};

// The source before and after the change.
struct SourceEdit {
  torch::Tensor latent;                       // [C, h, w], scaled
  torch::Tensor G_before, G_after;            // [clip_dim]
  torch::Tensor landmarks;                    // [3 * num_landmarks], normalised
  std::optional<torch::Tensor> landmark_map;  // [S, 192], with landmark maps
};

// -> [C, h, w]: the moved latent. A network of float32 on the CPU, which is only read. Takes
// 4 * num_steps passes of a row. kInvalidArgument: a bad option. Throws c10::Error.
absl::StatusOr<torch::Tensor> EditSourceLatent(SDiT sdit, const SourceEdit& edit,
                                               const SourceEditOptions& options);

}  // namespace reenact
