// The methods for long videos through the engine's interface: a real face drives a small network
// with random weights, over a scene cut.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/media/resize.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
#include "pipeline/reenactor/reenactor.h"
#include "tests/pipeline/reenactor/random_model.h"
#include "tests/support/encode_clip.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr int kFrames = 12;
constexpr int kSteps = 3;

class LongVideoTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (testing::DataDir().empty()) return;
    folder_ = testing::WriteRandomModel("long_video_test");
    auto engine = CreateReenactor(Options());
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = engine->release();
    one_scene_ = new std::string(Video({{"d18.mp4", kFrames}}));
    two_scenes_ = new std::string(Video({{"d18.mp4", 7}, {"d0.mp4", 5}}));
  }
  static void TearDownTestSuite() {
    delete engine_;
    engine_ = nullptr;
    delete one_scene_;
    delete two_scenes_;
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  void SetUp() override { REENACT_REQUIRE_DATA(); }

  static ReenactorOptions Options() { return testing::RandomModelOptions(folder_); }

  // The first frames of each file, one after the other.
  static std::string Video(const std::vector<std::pair<std::string, int>>& scenes) {
    std::vector<Image> images;
    for (const auto& [name, count] : scenes) {
      auto reader = VideoReader::Open(
          testing::ReadFile(testing::DataDir() + "/LivePortrait/driving/" + name));
      EXPECT_TRUE(reader.ok()) << reader.status();
      for (int i = 0; i < count; ++i) {
        const auto frame = (*reader)->Next();
        EXPECT_TRUE(frame.ok() && frame->has_value());
        images.push_back(ResizeImage((*frame)->image, 256, 256));
      }
    }
    VideoWriter::Options options;
    options.time_base_den = 25;
    options.crf = 10;
    return testing::EncodeClip(std::move(options), images, testing::EvenTimes(images.size(), 1));
  }

  static JobRequest Request(LongVideoMethod method = LongVideoMethod::kAnchored) {
    JobRequest request;
    request.source.image = testing::ReadFile(testing::DataDir() + "/scikit-image/astronaut.png");
    request.num_steps = kSteps;
    request.seed = 11;
    request.method = method;
    request.format = OutputFormat::kRawRgb;
    return request;
  }

  struct Running {
    std::unique_ptr<EngineJob> job;
    std::vector<Output> outputs;

    bool done() const { return job->rendered(); }
    std::string Bytes() const {
      std::string all;
      for (const Output& output : outputs) all += output.data;
      return all;
    }
  };

  static Running Start(Engine& engine, const JobRequest& request, const std::string& driving) {
    Running running;
    auto job = engine.CreateJob(request);
    EXPECT_TRUE(job.ok()) << job.status();
    if (!job.ok()) return running;
    running.job = *std::move(job);
    EXPECT_TRUE(running.job->AddDriving(driving).ok());
    EXPECT_TRUE(running.job->FinishDriving().ok());
    while (true) {
      const auto prepared = running.job->Prepare();
      EXPECT_TRUE(prepared.ok()) << prepared.status();
      if (!prepared.ok() || *prepared == EngineJob::Preparation::kDone) return running;
    }
  }

  // All jobs to their ends; each step holds `rows` of every job that wants any, as far as it may.
  static void Finish(Engine& engine, const std::vector<Running*>& all, int rows = 100) {
    const auto open = [](const Running* running) { return !running->done(); };
    while (std::any_of(all.begin(), all.end(), open) && !::testing::Test::HasFailure()) {
      std::vector<StepShare> shares;
      for (Running* running : all) {
        const RowDemand demand = running->job->row_demand();
        if (demand.max_rows == 0) continue;
        shares.push_back({running->job.get(), std::clamp(rows, demand.min_rows, demand.max_rows)});
      }
      for (const absl::Status& status : engine.Step(shares)) ASSERT_TRUE(status.ok()) << status;
      bool rendered = false;
      for (Running* running : all) {
        while (running->job->renderable()) {
          auto outputs = running->job->Render();
          ASSERT_TRUE(outputs.ok()) << outputs.status();
          rendered = true;
          std::move(outputs->begin(), outputs->end(), std::back_inserter(running->outputs));
        }
      }
      ASSERT_TRUE(rendered || !shares.empty()) << "nothing moves";
    }
  }

  static Running Run(const JobRequest& request, const std::string& driving, int rows = 100) {
    Running running = Start(*engine_, request, driving);
    if (running.job != nullptr) Finish(*engine_, {&running}, rows);
    return running;
  }

  static std::string folder_;
  static Engine* engine_;
  static std::string* one_scene_;
  static std::string* two_scenes_;
};

std::string LongVideoTest::folder_;
Engine* LongVideoTest::engine_ = nullptr;
std::string* LongVideoTest::one_scene_ = nullptr;
std::string* LongVideoTest::two_scenes_ = nullptr;

TEST_F(LongVideoTest, EveryMethodMakesEveryFrameByAPlanOfItsOwn) {
  struct Case {
    LongVideoMethod method;
    SequencePlan plan;
    int rows, padding;
  };
  // T = 4. Windows of 4 share 2 with MultiDiffusion, 1 with the overlapped form.
  for (const Case& c : {Case{LongVideoMethod::kAnchored, SequencePlan::kCentralRandom, 5, 4},
                        Case{LongVideoMethod::kAnchored, SequencePlan::kBalanced, 4, 1},
                        Case{LongVideoMethod::kMultiDiffusion, SequencePlan::kCentralRandom, 5, 0},
                        Case{LongVideoMethod::kOverlapped, SequencePlan::kCentralRandom, 4, 0},
                        Case{LongVideoMethod::kIndependent, SequencePlan::kCentralRandom, 3, 0}}) {
    SCOPED_TRACE(static_cast<int>(c.method));
    JobRequest request = Request(c.method);
    request.plan = c.plan;
    const Running running = Run(request, *one_scene_);
    ASSERT_FALSE(HasFailure());
    const JobPlan plan = running.job->plan();
    EXPECT_TRUE(plan.complete);
    EXPECT_EQ(plan.num_rows, c.rows);
    EXPECT_EQ(plan.num_padding_slots, c.padding);
    EXPECT_EQ(plan.total_steps, c.rows * kSteps);
    EXPECT_EQ(running.job->steps_done(), plan.total_steps);
    EXPECT_EQ(running.job->Summary().rows_run, plan.total_steps);
    ASSERT_EQ(running.outputs.size(), static_cast<size_t>(kFrames));
    for (int i = 0; i < kFrames; ++i) EXPECT_EQ(running.outputs[i].first_frame, i);
  }
}

// Mean difference of the bytes of each two frames that follow each other.
double ChangeFromFrameToFrame(const std::vector<Output>& frames) {
  double sum = 0, count = 0;
  for (size_t i = 1; i < frames.size(); ++i) {
    for (size_t k = 0; k < frames[i].data.size(); ++k) {
      sum += std::abs(static_cast<uint8_t>(frames[i].data[k]) -
                      static_cast<uint8_t>(frames[i - 1].data[k]));
      ++count;
    }
  }
  return sum / count;
}

TEST_F(LongVideoTest, SharedNoiseKeepsFramesAlike) {
  const std::string folder = testing::WriteRandomModel(
      "shared_noise", [](BundleConfig& config) { config.shared_noise = true; });
  auto engine = CreateReenactor(testing::RandomModelOptions(folder));
  ASSERT_TRUE(engine.ok()) << engine.status();
  for (const auto method : {LongVideoMethod::kAnchored, LongVideoMethod::kIndependent}) {
    Running shared = Start(**engine, Request(method), *one_scene_);
    ASSERT_NE(shared.job, nullptr);
    Finish(**engine, {&shared});
    const Running per_frame = Run(Request(method), *one_scene_);
    ASSERT_EQ(shared.outputs.size(), per_frame.outputs.size());
    EXPECT_LT(ChangeFromFrameToFrame(shared.outputs),
              0.7 * ChangeFromFrameToFrame(per_frame.outputs));
  }
  fs::remove_all(folder);
}

TEST_F(LongVideoTest, NarrowWindowsAreLessWork) {
  JobRequest request = Request(LongVideoMethod::kMultiDiffusion);
  const double whole = Run(request, *one_scene_).job->plan().gflop_per_row_step;
  request.window = {.frames = 3, .overlap = 2};
  const Running running = Run(request, *one_scene_);
  EXPECT_EQ(running.job->plan().num_rows, 10);
  EXPECT_EQ(running.outputs.size(), static_cast<size_t>(kFrames));
  EXPECT_LT(running.job->plan().gflop_per_row_step, 0.76 * whole);
  EXPECT_GT(running.job->plan().gflop_per_row_step, 0.7 * whole);
}

TEST_F(LongVideoTest, TheNumberOfRowsInAStepDoesNotMatter) {
  for (const auto method : {LongVideoMethod::kMultiDiffusion, LongVideoMethod::kOverlapped,
                            LongVideoMethod::kIndependent}) {
    JobRequest request = Request(method);
    request.guidance_scale = 1.5;
    request.sampler = Sampler::kDdpm;
    const std::string expected = Run(request, *one_scene_).Bytes();
    EXPECT_TRUE(Run(request, *one_scene_, 1).Bytes() == expected);
    EXPECT_TRUE(Run(request, *one_scene_, 2).Bytes() == expected);
  }
}

TEST_F(LongVideoTest, JobsOfDifferentMethodsShareSteps) {
  const std::vector<LongVideoMethod> methods = {
      LongVideoMethod::kAnchored, LongVideoMethod::kMultiDiffusion, LongVideoMethod::kOverlapped,
      LongVideoMethod::kIndependent};
  std::vector<std::string> alone;
  for (const auto method : methods) alone.push_back(Run(Request(method), *one_scene_).Bytes());
  std::vector<Running> together;
  for (const auto method : methods) {
    together.push_back(Start(*engine_, Request(method), *one_scene_));
  }
  std::vector<Running*> all;
  for (Running& running : together) all.push_back(&running);
  Finish(*engine_, all, 2);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(all[i]->Bytes() == alone[i]) << "method " << i;
    for (size_t k = 0; k < i; ++k) EXPECT_FALSE(alone[i] == alone[k]) << i << " and " << k;
  }
}

TEST_F(LongVideoTest, ScenesHaveAnchorsOfTheirOwn) {
  JobRequest request = Request();
  request.anchors = AnchorPlacement::kPerScene;
  request.plan = SequencePlan::kBalanced;
  const Running linked = Run(request, *two_scenes_);
  const JobSummary summary = linked.job->Summary();
  EXPECT_TRUE(summary.frame_faces[7].cut);
  EXPECT_THAT(summary.notes, Contains(HasSubstr("2 scenes, each with an anchor frame")));
  // 7 frames: the anchor and 6 in 3 slots a row. 5 frames: as if 6 in 3 slots a row.
  EXPECT_EQ(linked.job->plan().num_rows, 2 + 2);
  EXPECT_EQ(linked.outputs.size(), static_cast<size_t>(kFrames));
  // Whatever form the traces take.
  for (const auto& [trace, budget] : {std::pair{ReenactorOptions::Trace::kAuto, int64_t{0}},
                                      {ReenactorOptions::Trace::kRecomputed, int64_t{0}}}) {
    ReenactorOptions options = Options();
    options.max_trace_bytes = budget;
    options.trace = trace;
    auto engine = CreateReenactor(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    Running running = Start(**engine, request, *two_scenes_);
    Finish(**engine, {&running});
    EXPECT_TRUE(running.Bytes() == linked.Bytes());
  }
  request.anchors = AnchorPlacement::kSingle;
  EXPECT_FALSE(Run(request, *two_scenes_).Bytes() == linked.Bytes());
}

TEST_F(LongVideoTest, OneSceneIsTheSingleAnchorToTheBit) {
  JobRequest request = Request();
  const std::string single = Run(request, *one_scene_).Bytes();
  request.anchors = AnchorPlacement::kPerScene;
  const Running per_scene = Run(request, *one_scene_);
  EXPECT_TRUE(per_scene.Bytes() == single);
  EXPECT_THAT(per_scene.job->Summary().notes, Not(Contains(HasSubstr("scenes"))));
}

TEST_F(LongVideoTest, WhatDoesNotGoTogetherIsRefused) {
  const auto message = [](const JobRequest& request) {
    const absl::Status status = engine_->CreateJob(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  JobRequest request = Request(LongVideoMethod::kOverlapped);
  request.window.frames = 5;
  EXPECT_THAT(message(request), HasSubstr("window.frames must be 1..4, is 5"));
  request = Request(LongVideoMethod::kMultiDiffusion);
  request.plan = SequencePlan::kContiguous;
  EXPECT_THAT(message(request), HasSubstr("sequence_plan is contiguous, must be unset"));
}

}  // namespace
}  // namespace reenact
