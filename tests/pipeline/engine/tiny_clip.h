// A clip of eleven frames for a tiny random network, for tests of the denoisers.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "pipeline/anchored/row_plan.h"
#include "pipeline/diffusion/noise.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/engine/override_denoiser.h"
#include "pipeline/engine/random_bundle.h"
#include "pipeline/engine/sampling.h"

namespace reenact::testing {

// Rounding of float32 through a few steps; latents are of the order of 1.
inline constexpr double kTolerance = 1e-4;

using Frames = std::map<int, torch::Tensor>;  // finished latents by frame

inline double Distance(const Frames& a, const Frames& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (const auto& [frame, latent] : a) {
    if (b.count(frame) == 0) {
      ADD_FAILURE() << "frame " << frame << " is missing";
      continue;
    }
    largest = std::max(largest, (latent - b.at(frame)).abs().max().item<double>());
  }
  return largest;
}

// By how the source enters.
class TinyClipTest : public ::testing::TestWithParam<SourceTokens> {
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

  FrameConditions MakeFrameConditions(uint64_t seed = 1) {
    const int64_t tokens = config_.tokens_side() * config_.tokens_side();
    return {
        .C = FrameNoise(seed, 0, 0, {kFrames, config_.hidden_size}),
        .C_dropped = FrameNoise(seed, 1, 0, {kFrames, config_.hidden_size}),
        .landmark_map = FrameNoise(2, 0, 0, {kFrames, tokens, config_.landmark_map_channels()})};
  }

  Conditions MakeConditions(bool with_source = true, uint64_t seed = 1) {
    c10::InferenceMode inference;
    Conditions conditions;
    conditions.frames = FromTensors(MakeFrameConditions(seed));
    const int64_t tokens = config_.tokens_side() * config_.tokens_side();
    if (with_source) {
      conditions.source_latent = FrameNoise(
          seed, 2, 0, {config_.latent_channels, config_.latent_size, config_.latent_size});
      conditions.source_C = FrameNoise(seed, 3, 0, {config_.hidden_size});
      conditions.source_landmark_map =
          FrameNoise(seed, 4, 0, {tokens, config_.landmark_map_channels()});
    }
    return conditions;
  }

  NoiseSource MakeNoise(uint64_t seed) const {
    return [seed, channels = config_.latent_channels, size = config_.latent_size](int frame,
                                                                                  int step) {
      return FrameNoise(seed, static_cast<uint64_t>(frame), static_cast<uint64_t>(step),
                        {channels, size, size});
    };
  }

  RowPlan MakePlan(SequencePlan kind = SequencePlan::kCentralRandom, int num_frames = kFrames) {
    auto plan = PlanRows(num_frames, static_cast<int>(config_.num_frames), kind, 0);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return *std::move(plan);
  }

  static Schedule MakeSchedule(int num_steps = kSteps, const std::string& name = "linear") {
    auto schedule = Schedule::Create(name, 1000, std::to_string(num_steps));
    EXPECT_TRUE(schedule.ok()) << schedule.status();
    return *std::move(schedule);
  }

  Frames RunOverride(const SamplingOptions& options, const Conditions& conditions, int max_rows = 8,
                     uint64_t seed = 9, SequencePlan kind = SequencePlan::kCentralRandom,
                     const std::string& schedule = "linear") {
    auto denoiser = OverrideDenoiser::Create(sdit_, MakeSchedule(kSteps, schedule), MakePlan(kind),
                                             conditions, MakeNoise(seed), options, max_rows);
    EXPECT_TRUE(denoiser.ok()) << denoiser.status();
    Frames frames;
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

  SDiTConfig config_;
  SDiT sdit_{nullptr};
};

inline std::string SourceName(const ::testing::TestParamInfo<SourceTokens>& test) {
  return test.param == SourceTokens::kNone   ? "None"
         : test.param == SourceTokens::kSelf ? "Self"
                                             : "Joint";
}

}  // namespace reenact::testing
