// Makes bundles (engine/bundle.h) from public checkpoints, or with random weights of any size.
// Weights go to disk tensor by tensor, so that neither needs the memory of a network: checkpoints
// are mapped, and random tensors live one at a time. Functions may be called from any thread, but
// use libtorch's default generator.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/engine/bundle.h"
#include "pipeline/models/checkpoint_shapes.h"
#include "torch/torch.h"

namespace reenact {

// A network's tensors, asked for one by one.
struct TensorSource {
  TensorShapes shapes;
  std::function<torch::Tensor(const std::string& name)> tensor;
};

// Writes a bundle as WriteBundle does, without having all of it in memory, and without reading it
// back. `half`: see BundleTensors. kInvalidArgument: the configuration contradicts itself, a
// tensor has another shape than announced or is not finite.
absl::Status StreamBundle(const std::string& folder, const BundleConfig& config,
                          const TensorSource& sdit, const TensorSource& autoencoder,
                          const TensorSource& clip, const std::string& merges, bool half);

// Where a bundle's parts come from. Paths as ReadCheckpoint takes them.
struct BundleSources {
  // An sDiT under our own names, or a DiT (facebookresearch/DiT or diffusers), which becomes an
  // sDiT: backbone and embedders are the DiT's, the mapping network is new (ViT initialisation) but
  // for its last bias, the DiT's vector for "no class", so that a fresh model begins from what the
  // DiT does without a label.
  std::string dit;
  std::string dit_part;  // of a training checkpoint, as WeightsOf takes it
  int64_t num_heads = 0;
  int64_t num_frames = 4;  // T of an sDiT made of a DiT
  int64_t image_size = 0;  // 0: as the checkpoint says
  std::string autoencoder;
  std::string clip;
  std::string merges;  // merges.txt, or OpenAI's bpe_simple_vocab_16e6.txt.gz
  uint64_t seed = 0;
};

// Fills `config`'s network configurations, image_size and frames_per_row, and writes the bundle.
// All that is wrong with all the files comes in one kInvalidArgument. `report` receives a line for
// each part: what it is and where it comes from.
absl::Status MakeBundle(const std::string& folder, BundleConfig config,
                        const BundleSources& sources, bool half, std::vector<std::string>* report);

// "XL/2", "L/4", "B/2", "S/8" and so on: DiT's sizes with Stable Diffusion's autoencoder and CLIP
// ViT-L/14 (XL, L) or ViT-B/32 (B, S); "demo": the demo bundle's; "small": SmallBundleConfig.
// `image_size` 0: 256 for DiT's sizes. kInvalidArgument lists the names.
absl::StatusOr<BundleConfig> NamedBundleConfig(const std::string& name, int64_t image_size,
                                               int64_t frames_per_row);

// Every tensor has its initialiser's mean and deviation; what begins at zero gets small values, so
// that every input has an effect. The same seed gives the same bytes. `merges` "": made up, of the
// vocabulary's size.
absl::Status StreamRandomBundle(const std::string& folder, const BundleConfig& config,
                                const std::string& merges, bool half, uint64_t seed);

}  // namespace reenact
