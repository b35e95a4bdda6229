// Execution by anchor trace against the full-batch override, and the invariants that make rows of
// many clips free to share a step.
#include "pipeline/engine/trace_denoiser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/pipeline/engine/tiny_clip.h"

namespace reenact::testing {
namespace {

using ::testing::HasSubstr;

class TraceDenoiserTest : public TinyClipTest {
 protected:
  // Rows are computed one by one, so that a row's bits depend on nothing else.
  std::unique_ptr<RowExecutor> MakeExecutor(ExecutorDtype dtype = ExecutorDtype::kFloat32,
                                            bool deterministic = true) {
    auto executor = MakeTorchExecutor(sdit_, {.dtype = dtype, .deterministic = deterministic});
    EXPECT_TRUE(executor.ok()) << executor.status();
    return *std::move(executor);
  }

  struct Clip {
    SamplingOptions options = {.prediction = Prediction::kV};
    RowSchedule::Options order;
    SequencePlan plan = SequencePlan::kCentralRandom;
    int num_frames = kFrames;
    int num_steps = kSteps;
    uint64_t seed = 9;
    bool with_source = true;
    std::string schedule = "linear";
  };
  TraceDenoiser Make(RowExecutor& executor, const Clip& clip) {
    auto denoiser = TraceDenoiser::Create(
        executor, MakeSchedule(clip.num_steps, clip.schedule), MakePlan(clip.plan, clip.num_frames),
        MakeConditions(clip.with_source), MakeNoise(clip.seed), clip.options, clip.order);
    EXPECT_TRUE(denoiser.ok()) << denoiser.status();
    return *std::move(denoiser);
  }

  static void Add(const absl::StatusOr<std::vector<FinishedFrame>>& finished, Frames* frames) {
    ASSERT_TRUE(finished.ok()) << finished.status();
    for (const FinishedFrame& frame : *finished) {
      EXPECT_TRUE(frames->emplace(frame.frame, frame.latent).second) << "shown twice";
    }
  }

  // All by itself; `grant` says how many rows of a demand to run, by default all.
  Frames Run(RowExecutor& executor, const Clip& clip,
             const std::function<int(RowDemand)>& grant = nullptr) {
    TraceDenoiser denoiser = Make(executor, clip);
    Frames frames;
    while (!denoiser.done()) {
      const RowDemand demand = denoiser.demand();
      const int rows = grant ? grant(demand) : demand.max_rows;
      Add(TraceDenoiser::Step(executor, {{{&denoiser, rows}}})[0], &frames);
      if (HasFailure()) break;
    }
    EXPECT_EQ(frames.size(), static_cast<size_t>(clip.num_frames));
    EXPECT_EQ(denoiser.trace_bytes(), 0);
    EXPECT_EQ(denoiser.demand().max_rows, 0);
    return frames;
  }
  Frames Run(const Clip& clip) { return Run(*MakeExecutor(), clip); }
};

TEST_P(TraceDenoiserTest, GivesWhatTheFullBatchOverrideGives) {
  for (const bool deterministic : {false, true}) {
    const auto executor = MakeExecutor(ExecutorDtype::kFloat32, deterministic);
    for (const Sampler sampler : {Sampler::kDdim, Sampler::kDdpm, Sampler::kDpmSolverPp}) {
      for (const double guidance : {1.0, 2.5}) {
        for (const bool with_source : {true, false}) {
          Clip clip;
          clip.options.sampler = sampler;
          clip.options.ddim_eta = 0.5;
          clip.options.guidance_scale = guidance;
          clip.with_source = with_source;
          EXPECT_LT(Distance(Run(*executor, clip),
                             RunOverride(clip.options, MakeConditions(with_source))),
                    kTolerance)
              << "guidance " << guidance << ", source " << with_source;
        }
      }
    }
  }
}

TEST_P(TraceDenoiserTest, BeginsAtPureNoiseWithEverySampler) {
  for (const Sampler sampler : {Sampler::kDdim, Sampler::kDdpm, Sampler::kDpmSolverPp}) {
    Clip clip;
    clip.options.sampler = sampler;
    clip.options.ddim_eta = 0.5;
    clip.options.guidance_scale = 1.5;
    clip.schedule = kLinearZeroTerminalSnr;
    const Frames frames = Run(clip);
    EXPECT_LT(Distance(frames, RunOverride(clip.options, MakeConditions(), 8, clip.seed, clip.plan,
                                           clip.schedule)),
              kTolerance);
    clip.schedule = "linear";
    EXPECT_GT(Distance(frames, Run(clip)), 0.01);
  }
}

TEST_P(TraceDenoiserTest, EveryFormAndPlanGivesTheSame) {
  for (const SequencePlan plan : {SequencePlan::kCentralRandom, SequencePlan::kCentralInterleaved,
                                  SequencePlan::kContiguous}) {
    Clip clip;
    clip.plan = plan;
    clip.options.guidance_scale = 1.5;
    const Frames expected = RunOverride(clip.options, MakeConditions(), 8, clip.seed, plan);
    for (const TraceForm form :
         {TraceForm::kRetained, TraceForm::kLockStep, TraceForm::kRecomputed}) {
      for (const int active : {2, 3, 8}) {
        clip.order = {.form = form, .max_active_rows = active, .max_first_rows = 2};
        EXPECT_LT(Distance(Run(clip), expected), kTolerance)
            << "form " << static_cast<int>(form) << ", " << active << " active rows";
      }
    }
  }
}

TEST_P(TraceDenoiserTest, AClipThatGrowsGivesWhatTheWholeOneGives) {
  const auto executor = MakeExecutor();
  std::mt19937 random(5);
  for (const TraceForm form : {TraceForm::kRetained, TraceForm::kRecomputed}) {
    Clip clip;
    clip.plan = SequencePlan::kContiguous;
    clip.options.guidance_scale = 1.5;
    const Frames expected = Run(*executor, clip);
    const RowPlan whole = MakePlan(clip.plan);
    ASSERT_GT(whole.rows.size(), 3u);
    RowPlan first = whole;
    first.rows.resize(1);
    clip.order.form = form;
    auto denoiser = TraceDenoiser::Create(*executor, MakeSchedule(), first, MakeConditions(),
                                          MakeNoise(clip.seed), clip.options, clip.order,
                                          /*complete=*/false);
    ASSERT_TRUE(denoiser.ok());
    Frames frames;
    size_t rows = 1;
    bool complete = false;
    for (int turn = 0; turn < 1000 && !denoiser->done(); ++turn) {
      // Now and then the next row is there; now and then there is nothing to do.
      if (rows < whole.rows.size() && random() % 3 == 0) {
        denoiser->AddRow(whole.rows[rows++]);
      } else if (rows == whole.rows.size() && !complete && random() % 8 == 0) {
        denoiser->Complete();
        complete = true;
      }
      const RowDemand demand = denoiser->demand();
      if (demand.max_rows == 0) continue;
      Add(TraceDenoiser::Step(*executor, {{{&*denoiser, demand.max_rows}}})[0], &frames);
    }
    EXPECT_TRUE(denoiser->done());
    EXPECT_EQ(Distance(frames, expected), 0) << "form " << static_cast<int>(form);
  }
}

TEST_P(TraceDenoiserTest, RowsMayBeGivenOutInAnyNumbers) {
  const auto executor = MakeExecutor();
  Clip clip;
  clip.options.sampler = Sampler::kDdpm;
  const Frames expected = Run(*executor, clip);
  std::mt19937 random(3);
  for (int run = 0; run < 5; ++run) {
    clip.order.max_active_rows = std::uniform_int_distribution(2, 6)(random);
    const Frames frames = Run(*executor, clip, [&](RowDemand demand) {
      EXPECT_EQ(demand.min_rows, 1);
      return std::uniform_int_distribution(1, demand.max_rows)(random);
    });
    EXPECT_EQ(Distance(frames, expected), 0);
  }
}

// Jobs of other lengths, plans, step counts, samplers, guidance, sources and seeds in the same
// steps, some paused for a while: to the bit what the clip gives alone.
TEST_P(TraceDenoiserTest, CompanyDoesNotMatter) {
  std::vector<Clip> clips(4);
  clips[1].num_frames = 6;
  clips[1].num_steps = 7;
  clips[1].options.sampler = Sampler::kDdpm;
  clips[1].seed = 10;
  clips[2].plan = SequencePlan::kContiguous;
  clips[2].options.guidance_scale = 2;
  clips[2].order.form = TraceForm::kLockStep;
  clips[2].with_source = false;
  clips[3].num_frames = 1;
  clips[3].num_steps = 2;
  clips[3].options.sampler = Sampler::kDpmSolverPp;
  clips[3].order.form = TraceForm::kRecomputed;

  const auto executor = MakeExecutor();
  std::vector<Frames> alone;
  for (const Clip& clip : clips) alone.push_back(Run(*executor, clip));

  std::mt19937 random(8);
  for (int run = 0; run < 3; ++run) {
    std::vector<TraceDenoiser> denoisers;
    for (const Clip& clip : clips) denoisers.push_back(Make(*executor, clip));
    std::vector<Frames> together(clips.size());
    while (true) {
      std::vector<TraceDenoiser::Share> shares;
      bool any_left = false;
      for (size_t i = 0; i < denoisers.size(); ++i) {
        if (denoisers[i].done()) continue;
        any_left = true;
        const RowDemand demand = denoisers[i].demand();
        if (random() % 4 == 0) continue;  // paused
        shares.push_back({&denoisers[i],
                          std::uniform_int_distribution(demand.min_rows, demand.max_rows)(random)});
      }
      if (!any_left) break;
      std::shuffle(shares.begin(), shares.end(), random);
      const auto results = TraceDenoiser::Step(*executor, shares);
      ASSERT_EQ(results.size(), shares.size());
      for (size_t i = 0; i < shares.size(); ++i) {
        const auto at = std::find_if(
            denoisers.begin(), denoisers.end(),
            [&](const TraceDenoiser& denoiser) { return &denoiser == shares[i].clip; });
        Add(results[i], &together[static_cast<size_t>(at - denoisers.begin())]);
      }
      ASSERT_FALSE(HasFailure());
    }
    for (size_t i = 0; i < clips.size(); ++i) {
      EXPECT_EQ(Distance(together[i], alone[i]), 0) << "clip " << i;
    }
  }
}

TEST_P(TraceDenoiserTest, AnchorRowDoesNotDependOnTheOthers) {
  const auto executor = MakeExecutor();
  const RowPlan plan = MakePlan();
  // Row 0's frames of the whole clip, and of a clip whose plan is row 0 alone.
  const Frames all = Run(*executor, Clip());
  RowPlan row0 = plan;
  row0.rows.resize(1);
  auto denoiser = TraceDenoiser::Create(*executor, MakeSchedule(), row0, MakeConditions(),
                                        MakeNoise(9), {.prediction = Prediction::kV}, {});
  ASSERT_TRUE(denoiser.ok());
  Frames alone;
  while (!denoiser->done()) {
    Add(TraceDenoiser::Step(*executor, {{{&*denoiser, 1}}})[0], &alone);
    EXPECT_EQ(denoiser->trace_bytes(), 0) << "nobody will read a trace";
  }
  ASSERT_FALSE(alone.empty());
  for (const auto& [frame, latent] : alone) EXPECT_TRUE(torch::equal(latent, all.at(frame)));
}

TEST_P(TraceDenoiserTest, KeepsTracesOnlyAsLongAsRowsNeedThem) {
  const auto executor = MakeExecutor();
  Clip clip;
  clip.order.max_active_rows = 2;
  TraceDenoiser denoiser = Make(*executor, clip);
  int64_t most = 0;
  while (!denoiser.done()) {
    ASSERT_TRUE(
        TraceDenoiser::Step(*executor, {{{&denoiser, denoiser.demand().max_rows}}})[0].ok());
    most = std::max(most, denoiser.trace_bytes());
  }
  EXPECT_EQ(most, TraceDenoiser::RetainedBytes(*executor, kSteps, false));

  clip.order.form = TraceForm::kLockStep;
  TraceDenoiser lock_step = Make(*executor, clip);
  while (!lock_step.done()) {
    ASSERT_TRUE(
        TraceDenoiser::Step(*executor, {{{&lock_step, lock_step.demand().max_rows}}})[0].ok());
    EXPECT_LE(lock_step.trace_bytes(), executor->trace_bytes());
  }
}

TEST_P(TraceDenoiserTest, Bfloat16StaysNearFloat32) {
  const Frames expected = Run(Clip());
  const auto executor = MakeExecutor(ExecutorDtype::kBfloat16);
  double largest = 0;
  for (const auto& [frame, latent] : expected) {
    largest = std::max(largest, latent.abs().max().item<double>());
  }
  // 8 bits of mantissa through the tiny network and four steps: 0.6 to 0.7 %.
  const double error = Distance(Run(*executor, Clip()), expected) / largest;
  std::cout << "relative error of bfloat16: " << error << "\n";
  EXPECT_LT(error, 0.03);
  EXPECT_EQ(executor->trace_bytes() * 2, MakeExecutor()->trace_bytes());
}

TEST_P(TraceDenoiserTest, AFailureEndsOneClipOnly) {
  const auto executor = MakeExecutor();
  TraceDenoiser good = Make(*executor, Clip());
  auto bad = TraceDenoiser::Create(*executor, MakeSchedule(), MakePlan(), MakeConditions(),
                                   [](int, int) {
                                     return torch::zeros({1, 2, 3});
                                   },
                                   {}, {});
  ASSERT_TRUE(bad.ok());
  Frames frames;
  const auto results = TraceDenoiser::Step(*executor, {{{&*bad, 1}, {&good, 2}}});
  EXPECT_EQ(results[0].status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(results[0].status().message()), HasSubstr("row step 0"));
  Add(results[1], &frames);
  EXPECT_EQ(good.row_steps_done(), 2);
  while (!good.done()) {
    Add(TraceDenoiser::Step(*executor, {{{&good, good.demand().max_rows}}})[0], &frames);
  }
  EXPECT_EQ(Distance(frames, Run(*executor, Clip())), 0);
}

TEST_P(TraceDenoiserTest, RefusesPartsThatDoNotFit) {
  const auto executor = MakeExecutor();
  const auto long_rows = PlanRows(kFrames, 5, SequencePlan::kContiguous, 0);
  const auto code = [&](const RowPlan& plan, const Conditions& conditions) {
    return TraceDenoiser::Create(*executor, MakeSchedule(), plan, conditions, MakeNoise(0), {}, {})
        .status()
        .code();
  };
  EXPECT_EQ(code(*long_rows, MakeConditions()), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(MakePlan(), Conditions()), absl::StatusCode::kInvalidArgument);
  if (config_.source != SourceTokens::kNone) {
    Conditions half = MakeConditions();
    half.source_C.reset();
    EXPECT_EQ(code(MakePlan(), half), absl::StatusCode::kInvalidArgument);
  }
  // Conditions of another shape show when a row begins.
  Conditions narrow = MakeConditions();
  FrameConditions frames = MakeFrameConditions();
  frames.C = frames.C.narrow(1, 0, config_.hidden_size - 1);
  narrow.frames = FromTensors(frames);
  auto denoiser =
      TraceDenoiser::Create(*executor, MakeSchedule(), MakePlan(), narrow, MakeNoise(0), {}, {});
  ASSERT_TRUE(denoiser.ok());
  const auto failed = TraceDenoiser::Step(*executor, {{{&*denoiser, 1}}})[0].status();
  EXPECT_EQ(failed.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(failed.message()), HasSubstr("condition C"));
}

INSTANTIATE_TEST_SUITE_P(Sources, TraceDenoiserTest,
                         ::testing::Values(SourceTokens::kNone, SourceTokens::kSelf,
                                           SourceTokens::kJoint),
                         SourceName);

TEST(RowGflop, MatchesTheFiguresOfTheSizesItIsKnownFor) {
  // GFLOP per frame and step as counted for the eager reference implementation.
  struct Case {
    int64_t latent, dim, depth, heads, frames;
    double gflop;
  };
  for (const Case& size : {Case{16, 256, 10, 8, 4, 1.18}, Case{16, 256, 10, 8, 8, 1.35},
                           Case{32, 384, 12, 6, 4, 15.7}, Case{32, 1152, 28, 16, 8, 296}}) {
    SDiTConfig config;
    config.latent_size = size.latent;
    config.patch_size = 2;
    config.hidden_size = size.dim;
    config.depth = size.depth;
    config.num_heads = size.heads;
    config.num_frames = size.frames;
    const double per_frame = RowGflop(config, size.frames) / static_cast<double>(size.frames);
    EXPECT_NEAR(per_frame, size.gflop, 0.005 * size.gflop);
    // A follower saves a T-th of the computed frames' work.
    EXPECT_NEAR(RowGflop(config, size.frames - 1) / RowGflop(config, size.frames),
                1 - 1 / static_cast<double>(size.frames), 1e-3);
  }
}

}  // namespace
}  // namespace reenact::testing
