#include "tests/bench/networks.h"

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pipeline/engine/bundle.h"

namespace reenact::bench {
namespace {

struct Named {
  const char* name;
  int latent, dim, depth, heads, slots, clip_dim;
  std::vector<int64_t> vae_widths;
};

const std::vector<Named>& Shapes() {
  static const auto* const shapes = new std::vector<Named>{
      {"demo", 16, 256, 10, 8, 8, 256, {32, 64, 128, 128}},
      {"S/2", 32, 384, 12, 6, 4, 768, {128, 256, 512, 512}},
      {"B/2", 32, 768, 12, 12, 4, 768, {128, 256, 512, 512}},
      {"XL/2", 32, 1152, 28, 16, 4, 768, {128, 256, 512, 512}},
  };
  return *shapes;
}

// Every layer passes on about as much as it gets, the gates included: then all inputs have an
// effect that can be seen in the output, as in a trained network.
void Randomize(torch::nn::Module& module) {
  torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : module.parameters()) {
    if (parameter.dim() > 1) {
      const double inputs =
          static_cast<double>(parameter.numel()) / static_cast<double>(parameter.size(0));
      parameter.normal_(0, 1 / std::sqrt(inputs));
    } else if (!parameter.any().item<bool>()) {
      parameter.normal_(0, 0.1);
    }
  }
}

}  // namespace

const std::vector<std::string>& ShapeNames() {
  static const auto* const names = [] {
    auto* all = new std::vector<std::string>;
    for (const Named& shape : Shapes()) all->push_back(shape.name);
    return all;
  }();
  return *names;
}

absl::StatusOr<NetworkShape> FindShape(const std::string& name, int num_slots) {
  for (const Named& named : Shapes()) {
    if (name != named.name) continue;
    NetworkShape shape;
    shape.sdit.latent_size = named.latent;
    shape.sdit.patch_size = 2;
    shape.sdit.hidden_size = named.dim;
    shape.sdit.depth = named.depth;
    shape.sdit.num_heads = named.heads;
    shape.sdit.num_frames = num_slots > 0 ? num_slots : named.slots;
    shape.sdit.clip_dim = named.clip_dim;
    shape.autoencoder.block_out_channels = named.vae_widths;
    if (auto status = Validate(shape.sdit); !status.ok()) return status;
    return shape;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--config: \"", name, "\" is not one of ", absl::StrJoin(ShapeNames(), ", ")));
}

SDiT MakeSdit(const SDiTConfig& config, uint64_t seed) {
  torch::manual_seed(seed);
  SDiT sdit(config);
  InitializeWeights(sdit);
  Randomize(*sdit);
  sdit->eval();
  return sdit;
}

Networks MakeNetworks(const std::string& name, const NetworkShape& shape, uint64_t seed,
                      bool with_sdit, bool with_autoencoder) {
  Networks networks;
  networks.name = name;
  if (with_sdit) networks.sdit = MakeSdit(shape.sdit, seed);
  if (with_autoencoder) {
    torch::manual_seed(seed);
    networks.autoencoder = AutoencoderKL(shape.autoencoder);
    InitializeWeights(networks.autoencoder);
    networks.autoencoder->eval();
  }
  return networks;
}

absl::StatusOr<Networks> ReadNetworks(const std::string& folder) {
  auto bundle = ReadBundle(folder);
  if (!bundle.ok()) {
    return absl::Status(bundle.status().code(),
                        absl::StrCat("--bundle: ", bundle.status().message()));
  }
  Networks networks;
  networks.name = bundle->config.name;
  networks.prediction = bundle->config.prediction;
  networks.sdit = bundle->sdit;
  networks.autoencoder = bundle->autoencoder;
  return networks;
}

Conditions RandomConditions(SDiT sdit, int num_frames, uint64_t seed) {
  c10::InferenceMode inference;
  torch::manual_seed(seed);
  const SDiTConfig& config = sdit->config();
  const torch::Tensor of_source =
      torch::nn::functional::normalize(torch::randn({1, config.clip_dim}));
  const torch::Tensor G = IdentityInput(config, of_source, of_source);
  const auto map = [&](int64_t frames) {
    const torch::Tensor L = torch::rand({1, frames, 3 * config.num_landmarks}) * 2 - 1;
    return sdit->map(G, L)[0];
  };
  const int64_t tokens = config.tokens_side() * config.tokens_side();
  Conditions conditions;
  FrameConditions frames;
  frames.C = map(num_frames);
  if (config.source != SourceTokens::kNone) {
    conditions.source_latent =
        torch::randn({config.latent_channels, config.latent_size, config.latent_size});
    conditions.source_C = map(1)[0];
    if (config.landmark_map) {
      conditions.source_landmark_map = torch::rand({tokens, config.landmark_map_channels()});
    }
  }
  if (config.landmark_map) {
    frames.landmark_map = torch::rand({num_frames, tokens, config.landmark_map_channels()});
  }
  conditions.frames = FromTensors(frames);
  return conditions;
}

}  // namespace reenact::bench
