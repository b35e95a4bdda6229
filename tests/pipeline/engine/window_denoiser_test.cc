// Overlapping windows against the plain form: whole tensors, whole steps, the network's own
// forward.
#include "pipeline/engine/window_denoiser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/engine/trace_denoiser.h"
#include "tests/pipeline/engine/tiny_clip.h"

namespace reenact::testing {
namespace {

using ::testing::HasSubstr;

class WindowDenoiserTest : public TinyClipTest {
 protected:
  // Rows are computed one by one, so that a row's bits depend on nothing else.
  std::unique_ptr<RowExecutor> MakeExecutor(bool deterministic = true) {
    auto executor = MakeTorchExecutor(
        sdit_, {.dtype = ExecutorDtype::kFloat32, .deterministic = deterministic});
    EXPECT_TRUE(executor.ok()) << executor.status();
    return *std::move(executor);
  }

  struct Clip {
    LongVideoMethod method = LongVideoMethod::kMultiDiffusion;
    int width = 4;
    int overlap = 2;
    SamplingOptions options = {.prediction = Prediction::kV};
    int num_frames = kFrames;
    int num_steps = kSteps;
    int max_rows = 8;
    uint64_t seed = 9;
    bool with_source = true;
    std::string schedule = "linear";
  };

  static std::vector<FrameWindow> Windows(const Clip& clip) {
    auto windows =
        PlanWindows(clip.num_frames, clip.width, clip.overlap,
                    clip.method == LongVideoMethod::kMultiDiffusion ? WindowTail::kMovedBack
                                                                    : WindowTail::kShort);
    EXPECT_TRUE(windows.ok()) << windows.status();
    return *std::move(windows);
  }

  // Of any number of frames: those of the tiny clip again and again.
  Conditions RepeatedConditions(bool with_source) {
    Conditions conditions = MakeConditions(with_source);
    conditions.frames = [all = conditions.frames](absl::Span<const int64_t> frames) {
      std::vector<int64_t> wrapped;
      for (const int64_t frame : frames) wrapped.push_back(frame % kFrames);
      return all(wrapped);
    };
    return conditions;
  }

  WindowDenoiser Make(RowExecutor& executor, const Clip& clip) {
    auto denoiser = WindowDenoiser::Create(
        executor, MakeSchedule(clip.num_steps, clip.schedule), clip.method, Windows(clip),
        RepeatedConditions(clip.with_source), MakeNoise(clip.seed), clip.options, clip.max_rows);
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
  Frames Run(RowExecutor& executor, ClipDenoiser& denoiser,
             const std::function<int(RowDemand)>& grant = nullptr) {
    Frames frames;
    while (!denoiser.done() && !HasFailure()) {
      const RowDemand demand = denoiser.demand();
      const int rows = grant ? grant(demand) : demand.max_rows;
      Add(ClipDenoiser::Step(executor, {{{&denoiser, rows}}})[0], &frames);
    }
    EXPECT_EQ(denoiser.demand().max_rows, 0);
    EXPECT_EQ(denoiser.num_open_rows(), 0);
    EXPECT_EQ(denoiser.row_steps_done(), denoiser.total_row_steps());
    return frames;
  }
  Frames Run(RowExecutor& executor, const Clip& clip,
             const std::function<int(RowDemand)>& grant = nullptr) {
    WindowDenoiser denoiser = Make(executor, clip);
    Frames frames = Run(executor, denoiser, grant);
    EXPECT_EQ(frames.size(), static_cast<size_t>(clip.num_frames));
    EXPECT_EQ(denoiser.num_active_windows(), 0);
    EXPECT_EQ(denoiser.num_active_frames(), 0);
    return frames;
  }

  // The network's word on `frames`, [frames, out_channels, h, w].
  torch::Tensor Predict(const Conditions& conditions, const std::vector<int64_t>& frames,
                        const torch::Tensor& x, int64_t t, bool dropped) {
    const FrameConditions of_frames = conditions.frames(frames);
    const bool has_source = conditions.source_latent.has_value();
    SDiTInput input;
    input.x = x.unsqueeze(0);
    input.t = torch::full({1}, t, torch::kInt64);
    input.C = (dropped ? of_frames.C_dropped : of_frames.C).unsqueeze(0);
    input.landmark_map = of_frames.landmark_map.unsqueeze(0);
    if (config_.source != SourceTokens::kNone) {
      const int64_t tokens = config_.tokens_side() * config_.tokens_side();
      input.source_latent = has_source ? conditions.source_latent->unsqueeze(0)
                                       : torch::zeros({1, config_.latent_channels,
                                                       config_.latent_size, config_.latent_size});
      input.source_C =
          has_source ? conditions.source_C->unsqueeze(0) : torch::zeros({1, config_.hidden_size});
      input.source_landmark_map = has_source
                                      ? conditions.source_landmark_map->unsqueeze(0)
                                      : torch::zeros({1, tokens, config_.landmark_map_channels()});
      if (dropped || !has_source) input.source_mask = torch::zeros({1}, torch::kBool);
    }
    return sdit_->forward(input)[0];
  }

  // Every step of the whole clip at once.
  Frames RunPlain(const Clip& clip) {
    const c10::InferenceMode inference;
    const Conditions conditions = RepeatedConditions(clip.with_source);
    const NoiseSource noise = MakeNoise(clip.seed);
    const Schedule schedule = MakeSchedule(clip.num_steps, clip.schedule);
    const bool overlapped = clip.method == LongVideoMethod::kOverlapped;
    std::vector<torch::Tensor> initial;
    for (int f = 0; f < clip.num_frames; ++f) initial.push_back(noise(overlapped ? 0 : f, 0));
    SamplerState state;
    state.x = torch::stack(initial);
    for (int i = schedule.size() - 1; i >= 0; --i) {
      const int64_t size = config_.latent_size;
      torch::Tensor sum = torch::zeros({clip.num_frames, config_.out_channels(), size, size});
      torch::Tensor sum_dropped = torch::zeros_like(sum);
      torch::Tensor count = torch::zeros({clip.num_frames, 1, 1, 1});
      for (const FrameWindow& window : Windows(clip)) {
        std::vector<int64_t> frames(static_cast<size_t>(window.count));
        std::iota(frames.begin(), frames.end(), int64_t{window.first});
        const torch::Tensor x = state.x.narrow(0, window.first, window.count);
        const int64_t t = schedule.timestep(i);
        torch::Tensor with = Predict(conditions, frames, x, t, false);
        const auto add = [&](torch::Tensor& to, const torch::Tensor& part) {
          to.narrow(0, window.first, window.count).add_(part);
        };
        add(count, torch::ones({window.count, 1, 1, 1}));
        if (clip.options.guided()) {
          const torch::Tensor without = Predict(conditions, frames, x, t, true);
          add(sum_dropped, without);
          if (!overlapped) {
            with = Guide(with, without, config_.latent_channels, clip.options.guidance_scale);
          }
        }
        add(sum, with);
      }
      torch::Tensor output = sum / count;
      if (overlapped && clip.options.guided()) {
        output = Guide(output, sum_dropped / count, config_.latent_channels,
                       clip.options.guidance_scale);
      }
      const auto draw = [&] {
        std::vector<torch::Tensor> drawn;
        for (int f = 0; f < clip.num_frames; ++f) {
          drawn.push_back(noise(f, schedule.size() - i));
        }
        return torch::stack(drawn);
      };
      SamplerStep(schedule, i, output, clip.options, draw, &state);
    }
    Frames frames;
    for (int f = 0; f < clip.num_frames; ++f) frames[f] = state.x[f];
    return frames;
  }
};

TEST_P(WindowDenoiserTest, GivesWhatWholeStepsGive) {
  for (const bool deterministic : {false, true}) {
    const auto executor = MakeExecutor(deterministic);
    for (const auto method : {LongVideoMethod::kMultiDiffusion, LongVideoMethod::kOverlapped}) {
      for (const Sampler sampler : {Sampler::kDdim, Sampler::kDdpm, Sampler::kDpmSolverPp}) {
        for (const double guidance : {1.0, 2.5}) {
          Clip clip;
          clip.method = method;
          clip.options.sampler = sampler;
          clip.options.ddim_eta = 0.5;
          clip.options.guidance_scale = guidance;
          EXPECT_LT(Distance(Run(*executor, clip), RunPlain(clip)), kTolerance)
              << "method " << static_cast<int>(method) << ", guidance " << guidance;
        }
      }
    }
  }
}

TEST_P(WindowDenoiserTest, BeginsAtPureNoiseWithEverySampler) {
  const auto executor = MakeExecutor();
  for (const auto method : {LongVideoMethod::kMultiDiffusion, LongVideoMethod::kOverlapped}) {
    for (const Sampler sampler : {Sampler::kDdim, Sampler::kDdpm, Sampler::kDpmSolverPp}) {
      Clip clip;
      clip.method = method;
      clip.options.sampler = sampler;
      clip.schedule = kLinearZeroTerminalSnr;
      const Frames frames = Run(*executor, clip);
      EXPECT_LT(Distance(frames, RunPlain(clip)), kTolerance);
      clip.schedule = "linear";
      EXPECT_GT(Distance(frames, Run(*executor, clip)), 0.01);
    }
  }
}

TEST_P(WindowDenoiserTest, GivesSoForEveryWidthAndOverlap) {
  const auto executor = MakeExecutor();
  for (const auto method : {LongVideoMethod::kMultiDiffusion, LongVideoMethod::kOverlapped}) {
    for (int width = 1; width <= static_cast<int>(config_.num_frames); ++width) {
      for (int overlap = 0; overlap < width; ++overlap) {
        for (const int num_frames : {1, width + 1, kFrames}) {
          Clip clip;
          clip.method = method;
          clip.width = width;
          clip.overlap = overlap;
          clip.num_frames = num_frames;
          clip.num_steps = 2;
          clip.with_source = overlap > 0;
          EXPECT_LT(Distance(Run(*executor, clip), RunPlain(clip)), kTolerance)
              << "method " << static_cast<int>(method) << ", " << width << "/" << overlap << ", "
              << num_frames << " frames";
        }
      }
    }
  }
}

TEST_P(WindowDenoiserTest, WindowsMayBeGivenOutInAnyNumbers) {
  const auto executor = MakeExecutor();
  std::mt19937 random(3);
  for (const auto method : {LongVideoMethod::kMultiDiffusion, LongVideoMethod::kOverlapped}) {
    Clip clip;
    clip.method = method;
    clip.overlap = 3;
    clip.options.sampler = Sampler::kDdpm;
    clip.options.guidance_scale = 1.5;
    const Frames expected = Run(*executor, clip);
    for (int run = 0; run < 4; ++run) {
      clip.max_rows = std::uniform_int_distribution(1, 9)(random);
      const Frames frames = Run(*executor, clip, [&](RowDemand demand) {
        EXPECT_EQ(demand.min_rows, 1);
        EXPECT_LE(demand.max_rows, clip.max_rows);
        return std::uniform_int_distribution(1, demand.max_rows)(random);
      });
      EXPECT_EQ(Distance(frames, expected), 0);
    }
  }
}

// Clips of all methods in the same steps: to the bit what each gives alone.
TEST_P(WindowDenoiserTest, CompanyDoesNotMatter) {
  const auto executor = MakeExecutor();
  const auto make_all = [&] {
    std::vector<std::unique_ptr<ClipDenoiser>> all;
    Clip clip;
    clip.options.guidance_scale = 2;
    all.push_back(std::make_unique<WindowDenoiser>(Make(*executor, clip)));
    clip = {.method = LongVideoMethod::kOverlapped, .width = 3, .overlap = 1, .num_steps = 6};
    clip.with_source = false;
    all.push_back(std::make_unique<WindowDenoiser>(Make(*executor, clip)));
    const auto rows = [&](RowPlan plan) {
      auto denoiser =
          TraceDenoiser::Create(*executor, MakeSchedule(), std::move(plan), MakeConditions(),
                                MakeNoise(9), {.prediction = Prediction::kV}, {});
      EXPECT_TRUE(denoiser.ok()) << denoiser.status();
      all.push_back(std::make_unique<TraceDenoiser>(*std::move(denoiser)));
    };
    rows(MakePlan());
    rows(*PlanIndependentRows(kFrames, 3));
    return all;
  };
  std::vector<Frames> alone;
  for (const auto& denoiser : make_all()) {
    alone.push_back(Run(*executor, *denoiser));
    EXPECT_EQ(alone.back().size(), static_cast<size_t>(kFrames));
  }
  std::mt19937 random(8);
  const auto all = make_all();
  std::vector<Frames> together(all.size());
  while (std::any_of(all.begin(), all.end(), [](const auto& clip) { return !clip->done(); })) {
    std::vector<ClipDenoiser::Share> shares;
    std::vector<size_t> who;
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i]->done() || random() % 4 == 0) continue;
      const RowDemand demand = all[i]->demand();
      shares.push_back(
          {all[i].get(), std::uniform_int_distribution(demand.min_rows, demand.max_rows)(random)});
      who.push_back(i);
    }
    const auto results = ClipDenoiser::Step(*executor, shares);
    for (size_t k = 0; k < who.size(); ++k) Add(results[k], &together[who[k]]);
    ASSERT_FALSE(HasFailure());
  }
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(Distance(together[i], alone[i]), 0) << "clip " << i;
  }
}

// Windows that share no frames know nothing of each other, whichever method names them.
TEST_P(WindowDenoiserTest, WithoutOverlapWindowsAreIndependent) {
  const auto executor = MakeExecutor();
  Clip clip;
  clip.overlap = 0;
  clip.num_frames = 8;
  clip.options.sampler = Sampler::kDpmSolverPp;
  auto rows = TraceDenoiser::Create(*executor, MakeSchedule(), *PlanIndependentRows(8, 4),
                                    MakeConditions(), MakeNoise(clip.seed), clip.options, {});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(Distance(Run(*executor, *rows), Run(*executor, clip)), 0);
}

// The last window of independent rows is filled up with frames that another window shows.
TEST_P(WindowDenoiserTest, IndependentRowsAreWhatTheNetworkMakesOfEach) {
  const auto executor = MakeExecutor();
  const SamplingOptions options = {.prediction = Prediction::kV};
  auto rows = TraceDenoiser::Create(*executor, MakeSchedule(), *PlanIndependentRows(kFrames, 4),
                                    MakeConditions(), MakeNoise(9), options, {});
  ASSERT_TRUE(rows.ok()) << rows.status();
  const Frames frames = Run(*executor, *rows);
  ASSERT_EQ(frames.size(), static_cast<size_t>(kFrames));
  const c10::InferenceMode inference;
  const Schedule schedule = MakeSchedule();
  for (const int first : {0, 4, 7}) {
    std::vector<int64_t> window(4);
    std::iota(window.begin(), window.end(), int64_t{first});
    std::vector<torch::Tensor> initial;
    for (const int64_t f : window) initial.push_back(MakeNoise(9)(static_cast<int>(f), 0));
    SamplerState state;
    state.x = torch::stack(initial);
    for (int i = schedule.size() - 1; i >= 0; --i) {
      SamplerStep(schedule, i,
                  Predict(MakeConditions(), window, state.x, schedule.timestep(i), false), options,
                  nullptr, &state);
    }
    for (int k = first == 7 ? 1 : 0; k < 4; ++k) {
      EXPECT_LT((frames.at(first + k) - state.x[k]).abs().max().item<double>(), kTolerance);
    }
  }
}

TEST_P(WindowDenoiserTest, MemoryDoesNotGrowWithTheClip) {
  const auto executor = MakeExecutor();
  Clip clip;
  clip.num_steps = 3;
  clip.max_rows = 4;
  for (const int num_frames : {40, 120}) {
    clip.num_frames = num_frames;
    WindowDenoiser denoiser = Make(*executor, clip);
    int windows = 0, frames = 0;
    bool ended = false;
    while (!denoiser.done()) {
      const auto finished =
          ClipDenoiser::Step(*executor, {{{&denoiser, denoiser.demand().max_rows}}});
      ASSERT_TRUE(finished[0].ok()) << finished[0].status();
      windows = std::max(windows, denoiser.num_active_windows());
      frames = std::max(frames, denoiser.num_active_frames());
      if (!ended && !finished[0]->empty()) {
        ended = true;
        EXPECT_EQ(finished[0]->front().frame, 0);
        EXPECT_LT(denoiser.row_steps_done(), denoiser.total_row_steps() / 2);
      }
    }
    // Two frames each, and the other half of the last.
    EXPECT_LE(windows, 2 + 1 + clip.max_rows);
    EXPECT_LE(frames, 2 * windows + 2);
  }
}

TEST_P(WindowDenoiserTest, AFailureEndsOneClipOnly) {
  const auto executor = MakeExecutor();
  WindowDenoiser good = Make(*executor, Clip());
  auto bad = WindowDenoiser::Create(
      *executor, MakeSchedule(), LongVideoMethod::kOverlapped, Windows(Clip()), MakeConditions(),
      [](int, int) {
        return torch::zeros({1, 2, 3});
      },
      {}, 8);
  ASSERT_TRUE(bad.ok());
  Frames frames;
  const auto results = ClipDenoiser::Step(*executor, {{{&*bad, 1}, {&good, 2}}});
  EXPECT_EQ(results[0].status().code(), absl::StatusCode::kInternal);
  Add(results[1], &frames);
  EXPECT_EQ(good.row_steps_done(), 2);
  for (const auto& [frame, latent] : Run(*executor, good)) frames[frame] = latent;
  EXPECT_EQ(Distance(frames, Run(*executor, Clip())), 0);
}

TEST_P(WindowDenoiserTest, RefusesPartsThatDoNotFit) {
  const auto executor = MakeExecutor();
  const auto status = [&](LongVideoMethod method, int width, const Conditions& conditions) {
    return WindowDenoiser::Create(*executor, MakeSchedule(), method,
                                  *PlanWindows(kFrames, width, 0, WindowTail::kShort), conditions,
                                  MakeNoise(0), {}, 8)
        .status();
  };
  EXPECT_THAT(std::string(status(LongVideoMethod::kOverlapped, 5, MakeConditions()).message()),
              HasSubstr("windows of 5 frames for a network of 4"));
  EXPECT_EQ(status(LongVideoMethod::kAnchored, 4, MakeConditions()).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status(LongVideoMethod::kOverlapped, 4, Conditions()).code(),
            absl::StatusCode::kInvalidArgument);
  WindowDenoiser whole = Make(*executor, Clip());
  EXPECT_THROW(whole.AddRow({}), c10::Error);
  EXPECT_THROW(whole.Complete(), c10::Error);
}

INSTANTIATE_TEST_SUITE_P(Sources, WindowDenoiserTest,
                         ::testing::Values(SourceTokens::kNone, SourceTokens::kSelf,
                                           SourceTokens::kJoint),
                         SourceName);

}  // namespace
}  // namespace reenact::testing
