#include "pipeline/engine/denoiser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "pipeline/diffusion/noise.h"
#include "pipeline/engine/random_bundle.h"

namespace reenact {
namespace {

// Rounding of float32 through a few steps; latents are of the order of 1.
constexpr double kTolerance = 1e-4;

class DenoiserTest : public ::testing::TestWithParam<SourceTokens> {
 protected:
  static constexpr int kFrames = 11;
  static constexpr int kSteps = 4;

  void SetUp() override {
    at::set_num_threads(1);  // the tensors are tiny
    torch::manual_seed(5);
    config_ = SmallBundleConfig().sdit;
    config_.source = GetParam();
    sdit_ = SDiT(config_);
    // Every layer must matter, also those a fresh network has at zero.
    torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : sdit_->parameters()) parameter.normal_(0, 0.1);
    sdit_->eval();
  }

  Conditions MakeConditions(bool with_source = true) {
    c10::InferenceMode inference;
    Conditions conditions;
    conditions.C = FrameNoise(1, 0, 0, {kFrames, config_.hidden_size});
    conditions.C_dropped = FrameNoise(1, 1, 0, {kFrames, config_.hidden_size});
    const int64_t tokens = config_.tokens_side() * config_.tokens_side();
    if (with_source) {
      conditions.source_latent =
          FrameNoise(1, 2, 0, {config_.latent_channels, config_.latent_size, config_.latent_size});
      conditions.source_C = FrameNoise(1, 3, 0, {config_.hidden_size});
      conditions.source_landmark_map = FrameNoise(1, 4, 0, {tokens, kLandmarkMapChannels});
    }
    conditions.landmark_map = [tokens](int frame) {
      return FrameNoise(2, static_cast<uint64_t>(frame), 0, {tokens, kLandmarkMapChannels});
    };
    return conditions;
  }

  std::map<int, torch::Tensor> Run(const DenoiserOptions& options, const Conditions& conditions,
                                   SequencePlan kind = SequencePlan::kCentralRandom,
                                   uint64_t seed = 9) {
    const auto plan = PlanRows(kFrames, static_cast<int>(config_.num_frames), kind, 0);
    const auto schedule = Schedule::Create("linear", 1000, std::to_string(kSteps));
    auto denoiser = Denoiser::Create(
        sdit_, *schedule, *plan, conditions,
        [&](int frame, int step) {
          return FrameNoise(seed, static_cast<uint64_t>(frame), static_cast<uint64_t>(step),
                            {config_.latent_channels, config_.latent_size, config_.latent_size});
        },
        options);
    EXPECT_TRUE(denoiser.ok()) << denoiser.status();
    std::map<int, torch::Tensor> frames;
    int64_t steps = 0;
    while (!denoiser->done()) {
      const auto finished = denoiser->Step();
      EXPECT_TRUE(finished.ok()) << finished.status();
      if (!finished.ok()) break;
      EXPECT_EQ(denoiser->steps_done(), ++steps);
      for (const FinishedFrame& frame : *finished) {
        EXPECT_TRUE(frames.emplace(frame.frame, frame.latent).second) << "shown twice";
      }
    }
    EXPECT_EQ(frames.size(), static_cast<size_t>(kFrames));
    EXPECT_EQ(denoiser->Step().status().code(), absl::StatusCode::kFailedPrecondition);
    return frames;
  }

  static double Distance(const std::map<int, torch::Tensor>& a,
                         const std::map<int, torch::Tensor>& b) {
    double largest = 0;
    for (const auto& [frame, latent] : a) {
      largest = std::max(largest, (latent - b.at(frame)).abs().max().item<double>());
    }
    return largest;
  }

  SDiTConfig config_;
  SDiT sdit_{nullptr};
};

TEST_P(DenoiserTest, RepeatedRunsAreEqualToTheBit) {
  DenoiserOptions options;
  options.prediction = Prediction::kV;

  EXPECT_EQ(Distance(Run(options, MakeConditions()), Run(options, MakeConditions())), 0);
}

TEST_P(DenoiserTest, RowsPerPassDoNotMatter) {
  for (const Sampler sampler : {Sampler::kDdim, Sampler::kDdpm}) {
    DenoiserOptions options;
    options.prediction = Prediction::kV;
    options.sampler = sampler;
    options.ddim_eta = 0.5;
    options.max_rows_per_pass = 2;
    const auto two = Run(options, MakeConditions());
    options.max_rows_per_pass = 3;
    EXPECT_LT(Distance(two, Run(options, MakeConditions())), kTolerance);
    options.max_rows_per_pass = 8;
    EXPECT_LT(Distance(two, Run(options, MakeConditions())), kTolerance);
  }
}

TEST_P(DenoiserTest, NoiseSeedAndSourceMatter) {
  DenoiserOptions options;
  options.prediction = Prediction::kV;
  const auto base = Run(options, MakeConditions());

  EXPECT_GT(Distance(base, Run(options, MakeConditions(), SequencePlan::kCentralRandom, 10)), 0.1);
  const double without_source = Distance(base, Run(options, MakeConditions(false)));
  if (GetParam() == SourceTokens::kNone) {
    EXPECT_EQ(without_source, 0);
  } else {
    EXPECT_GT(without_source, 100 * kTolerance);
  }
}

TEST_P(DenoiserTest, GuidanceExtrapolatesFromTheDroppedAppearance) {
  DenoiserOptions options;
  options.prediction = Prediction::kV;
  const auto off = Run(options, MakeConditions());
  options.guidance_scale = 3;
  const auto guided = Run(options, MakeConditions());
  EXPECT_GT(Distance(off, guided), 100 * kTolerance);

  // With the appearance dropped on both sides there is nothing to extrapolate from.
  Conditions same = MakeConditions(false);
  same.C_dropped = same.C;
  const auto alike = Run(options, same);
  options.guidance_scale = 1;
  EXPECT_LT(Distance(alike, Run(options, same)), kTolerance);
}

TEST_P(DenoiserTest, TheFirstPassOfAContiguousPlanShowsTheFirstFrames) {
  const auto plan = PlanRows(kFrames, 4, SequencePlan::kContiguous, 0);
  const auto schedule = Schedule::Create("linear", 1000, "2");
  DenoiserOptions options;
  options.max_rows_per_pass = 2;
  auto denoiser = Denoiser::Create(
      sdit_, *schedule, *plan, MakeConditions(),
      [&](int frame, int step) {
        return FrameNoise(0, static_cast<uint64_t>(frame), static_cast<uint64_t>(step),
                          {config_.latent_channels, config_.latent_size, config_.latent_size});
      },
      options);
  ASSERT_TRUE(denoiser.ok());
  // B = ceil(10 / 3) = 4 rows around frame 6: 3 passes of row 0 and one more.
  EXPECT_EQ(denoiser->total_steps(), 6);
  ASSERT_TRUE(denoiser->Step()->empty());
  std::vector<int> frames;
  const auto finished = denoiser->Step();
  ASSERT_TRUE(finished.ok()) << finished.status();
  for (const FinishedFrame& frame : *finished) frames.push_back(frame.frame);

  EXPECT_THAT(frames, ::testing::UnorderedElementsAre(0, 1, 2, 3, 6, 7, 8));
  EXPECT_EQ(denoiser->latents().size(0), 2);
}

TEST_P(DenoiserTest, RefusesPartsThatDoNotFit) {
  const auto plan = PlanRows(kFrames, 5, SequencePlan::kContiguous, 0);
  const auto schedule = Schedule::Create("linear", 1000, "2");
  const auto noise = [](int, int) { return torch::Tensor(); };
  EXPECT_EQ(Denoiser::Create(sdit_, *schedule, *plan, MakeConditions(), noise, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto fitting = PlanRows(kFrames + 1, 4, SequencePlan::kContiguous, 0);
  EXPECT_EQ(
      Denoiser::Create(sdit_, *schedule, *fitting, MakeConditions(), noise, {}).status().code(),
      absl::StatusCode::kInvalidArgument);
}

TEST_P(DenoiserTest, AFailingNetworkIsAnErrorNotAnException) {
  const auto plan = PlanRows(kFrames, 4, SequencePlan::kContiguous, 0);
  const auto schedule = Schedule::Create("linear", 1000, "2");
  auto denoiser = Denoiser::Create(sdit_, *schedule, *plan, MakeConditions(),
                                   [](int, int) {
                                     return torch::zeros({1, 2, 3});
                                   },
                                   {});
  ASSERT_TRUE(denoiser.ok());

  const auto status = denoiser->Step().status();

  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("denoising step 0"));
}

INSTANTIATE_TEST_SUITE_P(Sources, DenoiserTest,
                         ::testing::Values(SourceTokens::kNone, SourceTokens::kSelf,
                                           SourceTokens::kJoint),
                         [](const auto& test) {
                           return test.param == SourceTokens::kNone   ? "None"
                                  : test.param == SourceTokens::kSelf ? "Self"
                                                                      : "Joint";
                         });

}  // namespace
}  // namespace reenact
