#include "pipeline/engine/override_denoiser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <string>
#include <vector>

#include "tests/pipeline/engine/tiny_clip.h"

namespace reenact::testing {
namespace {

using OverrideDenoiserTest = TinyClipTest;

TEST_P(OverrideDenoiserTest, RepeatedRunsAreEqualToTheBit) {
  SamplingOptions options;
  options.prediction = Prediction::kV;

  EXPECT_EQ(
      Distance(RunOverride(options, MakeConditions()), RunOverride(options, MakeConditions())), 0);
}

TEST_P(OverrideDenoiserTest, RowsPerPassDoNotMatter) {
  for (const Sampler sampler : {Sampler::kDdim, Sampler::kDdpm}) {
    SamplingOptions options;
    options.prediction = Prediction::kV;
    options.sampler = sampler;
    options.ddim_eta = 0.5;
    const Frames two = RunOverride(options, MakeConditions(), 2);
    EXPECT_LT(Distance(two, RunOverride(options, MakeConditions(), 3)), kTolerance);
    EXPECT_LT(Distance(two, RunOverride(options, MakeConditions(), 8)), kTolerance);
  }
}

TEST_P(OverrideDenoiserTest, NoiseSeedAndSourceMatter) {
  SamplingOptions options;
  options.prediction = Prediction::kV;
  const auto base = RunOverride(options, MakeConditions());

  EXPECT_GT(Distance(base, RunOverride(options, MakeConditions(), 8, 10)), 0.1);
  const double without_source = Distance(base, RunOverride(options, MakeConditions(false)));
  if (GetParam() == SourceTokens::kNone) {
    EXPECT_EQ(without_source, 0);
  } else {
    EXPECT_GT(without_source, 100 * kTolerance);
  }
}

TEST_P(OverrideDenoiserTest, GuidanceExtrapolatesFromTheDroppedAppearance) {
  SamplingOptions options;
  options.prediction = Prediction::kV;
  const auto off = RunOverride(options, MakeConditions());
  options.guidance_scale = 3;
  const auto guided = RunOverride(options, MakeConditions());
  EXPECT_GT(Distance(off, guided), 100 * kTolerance);

  // With the appearance dropped on both sides there is nothing to extrapolate from.
  Conditions same = MakeConditions(false);
  FrameConditions frames = MakeFrameConditions();
  frames.C_dropped = frames.C;
  same.frames = FromTensors(frames);
  const auto alike = RunOverride(options, same);
  options.guidance_scale = 1;
  EXPECT_LT(Distance(alike, RunOverride(options, same)), kTolerance);
}

TEST_P(OverrideDenoiserTest, TheFirstPassOfAContiguousPlanShowsTheFirstFrames) {
  auto denoiser =
      OverrideDenoiser::Create(sdit_, MakeSchedule(2), MakePlan(SequencePlan::kContiguous),
                               MakeConditions(), MakeNoise(0), {}, /*max_rows_per_pass=*/2);
  ASSERT_TRUE(denoiser.ok());
  // B = ceil(10 / 3) = 4 rows around frame 2: 3 passes of row 0 and one more.
  EXPECT_EQ(denoiser->total_steps(), 6);
  ASSERT_TRUE(denoiser->Step()->empty());
  std::vector<int> frames;
  const auto finished = denoiser->Step();
  ASSERT_TRUE(finished.ok()) << finished.status();
  for (const FinishedFrame& frame : *finished) frames.push_back(frame.frame);

  EXPECT_THAT(frames, ::testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_EQ(denoiser->latents().size(0), 2);
}

TEST_P(OverrideDenoiserTest, Bfloat16StaysNearFloat32) {
  SamplingOptions options;
  options.prediction = Prediction::kV;
  options.guidance_scale = 1.5;
  const Frames expected = RunOverride(options, MakeConditions());
  double largest = 0;
  for (const auto& [frame, latent] : expected) {
    largest = std::max(largest, latent.abs().max().item<double>());
  }
  sdit_->to(torch::kBFloat16);
  const double error = Distance(RunOverride(options, MakeConditions()), expected) / largest;
  std::cout << "relative error of bfloat16: " << error << "\n";
  EXPECT_GT(error, 0);
  EXPECT_LT(error, 0.03);
}

TEST_P(OverrideDenoiserTest, RefusesPartsThatDoNotFit) {
  const auto plan = PlanRows(kFrames, 5, SequencePlan::kContiguous, 0);
  EXPECT_EQ(
      OverrideDenoiser::Create(sdit_, MakeSchedule(), *plan, MakeConditions(), MakeNoise(0), {}, 8)
          .status()
          .code(),
      absl::StatusCode::kInvalidArgument);
}

TEST_P(OverrideDenoiserTest, AFailingNetworkIsAnErrorNotAnException) {
  auto denoiser = OverrideDenoiser::Create(
      sdit_, MakeSchedule(), MakePlan(), MakeConditions(),
      [](int, int) {
        return torch::zeros({1, 2, 3});
      },
      {}, 8);
  ASSERT_TRUE(denoiser.ok());

  const auto status = denoiser->Step().status();

  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("denoising step 0"));
}

INSTANTIATE_TEST_SUITE_P(Sources, OverrideDenoiserTest,
                         ::testing::Values(SourceTokens::kNone, SourceTokens::kSelf,
                                           SourceTokens::kJoint),
                         SourceName);

}  // namespace
}  // namespace reenact::testing
