// An edit of a source's latent against the same sampling written out row by row.
#include "pipeline/engine/source_edit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "pipeline/diffusion/noise.h"
#include "pipeline/engine/random_bundle.h"

namespace reenact {
namespace {

using torch::Tensor;

SDiT MakeNetwork(SourceTokens source, bool landmark_map, bool learn_sigma) {
  SDiTConfig config = SmallBundleConfig().sdit;
  config.source = source;
  config.landmark_map = landmark_map;
  config.learn_sigma = learn_sigma;
  torch::manual_seed(5);
  SDiT sdit(config);
  InitializeWeights(sdit);
  const torch::NoGradGuard no_grad;
  for (Tensor& parameter : sdit->parameters()) {
    if (!parameter.any().item<bool>()) parameter.normal_(0, 0.2);
  }
  sdit->eval();
  return sdit;
}

SourceEdit MakeEdit(const SDiTConfig& config) {
  SourceEdit edit;
  edit.latent = torch::randn({config.latent_channels, config.latent_size, config.latent_size});
  const auto unit = [&] {
    const Tensor G = torch::randn({config.clip_dim});
    return G / G.norm();
  };
  edit.G_before = unit();
  edit.G_after = unit();
  edit.landmarks = torch::rand({3 * config.num_landmarks}) * 2 - 1;
  if (config.landmark_map) {
    edit.landmark_map =
        torch::rand({config.tokens_side() * config.tokens_side(), kLandmarkMapChannels});
  }
  return edit;
}

constexpr int kSteps = 3;
constexpr double kScale = 1.5;

// The mean frame of a row of the source's own landmarks, sampled by DDIM from the formulas.
Tensor SampleMean(SDiT sdit, const Tensor& G, const SourceEdit& edit, Prediction prediction,
                  const std::string& schedule_name) {
  const SDiTConfig& config = sdit->config();
  const int64_t T = config.num_frames, C = config.latent_channels;
  const auto schedule = *Schedule::Create(schedule_name, 1000, std::to_string(kSteps));
  std::vector<Tensor> noise;
  for (int64_t k = 0; k < T; ++k) {
    noise.push_back(FrameNoise(0, static_cast<uint64_t>(k), 0, edit.latent.sizes()));
  }
  Tensor x = torch::stack(noise);
  const auto run = [&](const Tensor& identity, int64_t t) {
    SDiTInput input;
    input.x = x.unsqueeze(0);
    input.t = torch::tensor({t});
    input.C = sdit->map(identity.unsqueeze(0), edit.landmarks.repeat({1, T, 1}));
    if (config.landmark_map) input.landmark_map = edit.landmark_map->repeat({1, T, 1, 1});
    if (config.source != SourceTokens::kNone) {
      input.source_latent = torch::zeros_like(edit.latent).unsqueeze(0);
      input.source_C = torch::zeros({1, config.hidden_size});
      if (config.landmark_map) {
        input.source_landmark_map = torch::zeros_like(*edit.landmark_map).unsqueeze(0);
      }
      input.source_mask = torch::zeros({1}, torch::kBool);
    }
    return sdit->forward(input)[0].narrow(1, 0, C);
  };
  for (int i = kSteps - 1; i >= 0; --i) {
    const int64_t t = schedule.timestep(i);
    const Tensor without = run(sdit->null_clip(), t);
    const Tensor out = without + kScale * (run(G, t) - without);
    const double alpha = std::sqrt(schedule.alphas_cumprod()[i]);
    const double sigma = std::sqrt(1 - schedule.alphas_cumprod()[i]);
    const double before = schedule.alphas_cumprod_prev()[i];
    const bool is_v = prediction == Prediction::kV;
    const Tensor x0 = is_v ? alpha * x - sigma * out : (x - sigma * out) / alpha;
    const Tensor eps = is_v ? sigma * x + alpha * out : out;
    x = std::sqrt(before) * x0 + std::sqrt(1 - before) * eps;
  }
  return x.mean(0);
}

struct Form {
  SourceTokens source;
  bool landmark_map;
  bool learn_sigma;
  Prediction prediction;
  const char* schedule = "linear";
};

class SourceEditTest : public ::testing::TestWithParam<Form> {
 protected:
  SourceEditTest()
      : sdit_(MakeNetwork(GetParam().source, GetParam().landmark_map, GetParam().learn_sigma)),
        edit_(MakeEdit(sdit_->config())) {}

  Tensor Run(const SourceEdit& edit) {
    const auto latent = EditSourceLatent(sdit_, edit,
                                         {.prediction = GetParam().prediction,
                                          .schedule = GetParam().schedule,
                                          .num_steps = kSteps,
                                          .guidance_scale = kScale});
    EXPECT_TRUE(latent.ok()) << latent.status();
    return *latent;
  }

  const torch::NoGradGuard no_grad_;
  SDiT sdit_;
  SourceEdit edit_;
};

TEST_P(SourceEditTest, MovesTheLatentByTheDifferenceOfTwoSamples) {
  const Tensor before =
      SampleMean(sdit_, edit_.G_before, edit_, GetParam().prediction, GetParam().schedule);
  const Tensor after =
      SampleMean(sdit_, edit_.G_after, edit_, GetParam().prediction, GetParam().schedule);

  const Tensor edited = Run(edit_);

  // Samples of a random network that predicts noise are large, and so is their rounding.
  const double scale = std::max(1.0, before.abs().max().item<double>());
  EXPECT_LE((edited - (edit_.latent + after - before)).abs().max().item<double>(), 2e-5 * scale);
  EXPECT_GT((edited - edit_.latent).abs().max().item<float>(), 0.005);
}

TEST_P(SourceEditTest, NoChangeOfGLeavesTheLatent) {
  edit_.G_after = edit_.G_before;

  EXPECT_TRUE(torch::allclose(Run(edit_), edit_.latent, 0, 1e-4));
}

TEST_P(SourceEditTest, TheChangeDependsOnTheFaceAndNotOnThePicture) {
  const Tensor change = Run(edit_) - edit_.latent;
  SourceEdit other = edit_;
  other.latent = torch::randn_like(edit_.latent);

  EXPECT_TRUE(torch::allclose(Run(other) - other.latent, change, 0, 1e-4));

  other.landmarks = -edit_.landmarks;
  EXPECT_FALSE(torch::allclose(Run(other) - other.latent, change, 0, 1e-4));
}

INSTANTIATE_TEST_SUITE_P(
    All, SourceEditTest,
    ::testing::Values(Form{SourceTokens::kSelf, true, false, Prediction::kV},
                      Form{SourceTokens::kSelf, true, false, Prediction::kV,
                           kLinearZeroTerminalSnr},
                      Form{SourceTokens::kSelf, false, true, Prediction::kEpsilon},
                      Form{SourceTokens::kJoint, true, true, Prediction::kV},
                      Form{SourceTokens::kNone, false, true, Prediction::kEpsilon}));

TEST(SourceEditOptionsTest, BadStepsAreRefused) {
  SDiT sdit = MakeNetwork(SourceTokens::kSelf, true, false);

  const auto edited = EditSourceLatent(sdit, MakeEdit(sdit->config()), {.num_steps = 0});

  EXPECT_EQ(edited.status().code(), absl::StatusCode::kInvalidArgument) << edited.status();
}

}  // namespace
}  // namespace reenact
