// Jobs of several faces: each pair's square must be what a job of that pair alone gives. Two real
// people side by side drive a small network with random weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pipeline/media/image_codec.h"
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
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kFrames = 10;
constexpr int kSide = 256;      // of one person's part of a driving frame
constexpr int kModelSide = 64;  // of a generated square

struct Result {
  absl::Status status;
  JobPlan plan;
  JobSummary summary;
  std::vector<Output> outputs;

  std::string Bytes() const {
    std::string all;
    for (const Output& output : outputs) all += output.data;
    return all;
  }
};

FaceSelection Nth(int index) {
  FaceSelection selection;
  selection.by = FaceSelection::By::kIndex;
  selection.index = index;
  return selection;
}

Image SideBySide(const Image& left, const Image& right) {
  Image both;
  both.width = left.width + right.width;
  both.height = left.height;
  for (int y = 0; y < both.height; ++y) {
    for (const Image* part : {&left, &right}) {
      const auto row = part->rgb.begin() + ptrdiff_t{3} * y * part->width;
      both.rgb.insert(both.rgb.end(), row, row + ptrdiff_t{3} * part->width);
    }
  }
  return both;
}

// Columns `x0` to `x0 + width` of a raw picture.
std::string Columns(const Output& output, int x0, int width) {
  std::string part;
  for (int y = 0; y < output.height; ++y) {
    part += output.data.substr(
        3 * (static_cast<size_t>(y) * static_cast<size_t>(output.width) + static_cast<size_t>(x0)),
        3 * static_cast<size_t>(width));
  }
  return part;
}

class FurtherFacesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (testing::DataDir().empty()) return;
    folder_ = testing::WriteRandomModel("further_faces_test");
    auto engine = CreateReenactor(Options());
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = engine->release();
    left_ = People("d18.mp4");
    right_ = People("d3.mp4");
  }
  static void TearDownTestSuite() {
    delete engine_;
    engine_ = nullptr;
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  void SetUp() override { REENACT_REQUIRE_DATA(); }

  static std::string DataFile(const std::string& name) {
    return testing::ReadFile(testing::DataDir() + "/" + name);
  }
  static ReenactorOptions Options() { return testing::RandomModelOptions(folder_); }
  static std::vector<Image> People(const std::string& video) {
    auto reader = VideoReader::Open(DataFile("LivePortrait/driving/" + video));
    EXPECT_TRUE(reader.ok()) << reader.status();
    std::vector<Image> people;
    for (int i = 0; i < 4 * kFrames; ++i) {
      auto frame = (*reader)->Next();
      EXPECT_TRUE(frame.ok() && frame->has_value());
      if (i % 4 == 0) people.push_back(ResizeImage((*frame)->image, kSide, kSide));
    }
    return people;
  }
  static std::string Video(const std::vector<Image>& images) {
    VideoWriter::Options options;
    options.time_base_den = 25;
    options.crf = 10;
    return testing::EncodeClip(std::move(options), images, testing::EvenTimes(images.size(), 1));
  }
  static std::string Driving() {
    std::vector<Image> images;
    for (size_t i = 0; i < kFrames; ++i) images.push_back(SideBySide(left_[i], right_[i]));
    return Video(images);
  }

  // The left person drives a picture, the right one another.
  static JobRequest Left() {
    JobRequest request;
    request.source.image = DataFile("scikit-image/astronaut.png");
    request.driver_face = Nth(0);
    request.format = OutputFormat::kRawRgb;
    request.num_steps = 3;
    request.seed = 11;
    return request;
  }
  static JobRequest Right() {
    JobRequest request = Left();
    request.source.image = DataFile("LivePortrait/source/s9.jpg");
    request.driver_face = Nth(1);
    return request;
  }
  static JobRequest Both() {
    JobRequest request = Left();
    const JobRequest right = Right();
    request.further_faces.push_back({right.source, right.driver_face});
    return request;
  }

  static Result Run(Engine& engine, const JobRequest& request, const std::string& driving) {
    Result result;
    auto job = engine.CreateJob(request);
    result.status = job.status();
    if (!job.ok()) return result;
    result.status.Update((*job)->AddDriving(driving));
    result.status.Update((*job)->FinishDriving());
    for (int turn = 0; result.status.ok() && !(*job)->rendered(); ++turn) {
      EXPECT_LT(turn, 100'000) << "nothing moves";
      if (turn == 100'000) break;
      const auto prepared = (*job)->Prepare();
      result.status.Update(prepared.status());
      const RowDemand demand = (*job)->row_demand();
      if (demand.max_rows > 0 && result.status.ok()) {
        // Any number within the demand must do.
        const int rows = turn % 2 == 0 ? demand.max_rows : demand.min_rows;
        const StepShare share = {.job = job->get(), .num_rows = rows};
        const int64_t before = (*job)->steps_done();
        result.status.Update(engine.Step({&share, 1})[0]);
        if (result.status.ok()) {
          EXPECT_EQ((*job)->steps_done(), before + rows);
        }
      }
      while (result.status.ok() && (*job)->renderable()) {
        auto outputs = (*job)->Render();
        result.status.Update(outputs.status());
        if (!outputs.ok()) break;
        for (Output& output : *outputs) result.outputs.push_back(std::move(output));
      }
    }
    if (!result.status.ok()) return result;
    result.plan = (*job)->plan();
    EXPECT_TRUE((*job)->denoised());
    EXPECT_EQ((*job)->steps_done(), result.plan.total_steps);
    EXPECT_EQ((*job)->frames_done(), result.plan.num_frames);
    result.summary = (*job)->Summary();
    return result;
  }
  static Result Run(const JobRequest& request, const std::string& driving) {
    Result result = Run(*engine_, request, driving);
    EXPECT_TRUE(result.status.ok()) << result.status;
    return result;
  }

  static std::string folder_;
  static Engine* engine_;
  static std::vector<Image> left_, right_;
};

std::string FurtherFacesTest::folder_;
Engine* FurtherFacesTest::engine_ = nullptr;
std::vector<Image> FurtherFacesTest::left_, FurtherFacesTest::right_;

TEST_F(FurtherFacesTest, EverySquareIsWhatItsPairAloneGives) {
  const std::string driving = Driving();
  for (const SequencePlan plan : {SequencePlan::kCentralRandom, SequencePlan::kContiguous}) {
    const auto with = [&](JobRequest request) {
      request.plan = plan;
      return Run(request, driving);
    };
    const Result left = with(Left()), right = with(Right()), both = with(Both());
    EXPECT_FALSE(left.Bytes() == right.Bytes());

    EXPECT_EQ(both.plan.num_frames, kFrames);
    EXPECT_EQ(both.plan.num_rows, 2 * left.plan.num_rows);
    EXPECT_EQ(both.plan.total_steps, 2 * left.plan.total_steps);
    EXPECT_EQ(both.summary.rows_run, both.plan.total_steps);
    ASSERT_EQ(both.outputs.size(), size_t{kFrames});
    for (size_t i = 0; i < both.outputs.size(); ++i) {
      ASSERT_EQ(both.outputs[i].width, 2 * kModelSide);
      ASSERT_EQ(both.outputs[i].height, kModelSide);
      EXPECT_TRUE(Columns(both.outputs[i], 0, kModelSide) == left.outputs[i].data) << i;
      EXPECT_TRUE(Columns(both.outputs[i], kModelSide, kModelSide) == right.outputs[i].data) << i;
    }
    EXPECT_EQ(both.summary.frame_faces.size(), size_t{kFrames});
    ASSERT_EQ(both.summary.further_frame_faces.size(), 1u);
    EXPECT_EQ(both.summary.further_frame_faces[0].size(), size_t{kFrames});
    EXPECT_TRUE(left.summary.further_frame_faces.empty());
  }
}

TEST_F(FurtherFacesTest, EveryFormOfTheTraceGivesTheSameBytes) {
  using Trace = ReenactorOptions::Trace;
  const std::string driving = Driving();
  for (const SequencePlan plan : {SequencePlan::kCentralRandom, SequencePlan::kContiguous}) {
    JobRequest request = Both();
    request.plan = plan;
    const std::string expected = Run(request, driving).Bytes();
    const SDiTConfig config = SmallBundleConfig().sdit;
    const int64_t tokens = config.tokens_side() * config.tokens_side();
    const int64_t one_trace = 3 * config.depth * 2 * tokens * config.hidden_size * 4;
    for (const auto& [trace, budget] :
         {std::pair{Trace::kRetained, int64_t{1} << 20}, std::pair{Trace::kAuto, one_trace},
          std::pair{Trace::kAuto, int64_t{0}}, std::pair{Trace::kLockStep, int64_t{0}},
          std::pair{Trace::kRecomputed, int64_t{0}}}) {
      ReenactorOptions options = Options();
      options.trace = trace;
      options.max_trace_bytes = budget;
      options.max_active_rows = 4;
      auto engine = CreateReenactor(options);
      ASSERT_TRUE(engine.ok()) << engine.status();
      const Result result = Run(**engine, request, driving);
      EXPECT_TRUE(result.status.ok()) << result.status;
      EXPECT_TRUE(result.Bytes() == expected)
          << static_cast<int>(trace) << " with " << budget << " bytes";
    }
  }
}

TEST_F(FurtherFacesTest, BothArePutBackIntoOnePicture) {
  constexpr int kHalf = 2 * kSide;
  // Far enough apart for the squares around them.
  Image wall;
  wall.width = wall.height = kSide;
  wall.rgb.assign(size_t{3} * kSide * kSide, 128);
  JobRequest request = Left();
  request.source.image =
      *EncodePng(SideBySide(SideBySide(left_[0], SideBySide(wall, wall)), right_[0]));
  request.source.face = Nth(1);
  request.driver_face = Nth(1);
  request.composition = Composition::kPasteBack;
  const std::string driving = Driving();
  const Result right = Run(request, driving);
  request.source.face = request.driver_face = Nth(0);
  const Result left = Run(request, driving);
  FacePair pair;
  pair.source.face = pair.driver_face = Nth(1);
  request.further_faces = {pair};
  const Result both = Run(request, driving);

  ASSERT_EQ(both.outputs.size(), size_t{kFrames});
  for (size_t i = 0; i < both.outputs.size(); ++i) {
    ASSERT_EQ(both.outputs[i].width, 2 * kHalf);
    // Each half is as if the other face were not moved.
    EXPECT_TRUE(Columns(both.outputs[i], 0, kHalf) == Columns(left.outputs[i], 0, kHalf)) << i;
    EXPECT_TRUE(Columns(both.outputs[i], kHalf, kHalf) == Columns(right.outputs[i], kHalf, kHalf))
        << i;
    EXPECT_FALSE(both.outputs[i].data == left.outputs[i].data) << i;
  }
  EXPECT_THAT(both.summary.notes,
              ::testing::IsSupersetOf(
                  {HasSubstr("source: 2 faces"), HasSubstr("further_faces[0].source: 2 faces")}));

  // No face of the picture is taken twice, and no driver's is.
  request.source.face = request.further_faces[0].source.face = FaceSelection();
  request.driver_face = request.further_faces[0].driver_face = FaceSelection();
  const Result by_size = Run(request, driving);
  EXPECT_EQ(by_size.summary.frames_out, kFrames);
  EXPECT_FALSE(Columns(by_size.outputs[0], 0, kHalf) == Columns(right.outputs[0], 0, kHalf));
  EXPECT_FALSE(Columns(by_size.outputs[0], kHalf, kHalf) == Columns(left.outputs[0], kHalf, kHalf));
}

TEST_F(FurtherFacesTest, PairsTradeDriversWithTheirChoices) {
  JobRequest crossed = Both();
  std::swap(crossed.driver_face, crossed.further_faces[0].driver_face);
  JobRequest alone = Right();
  alone.driver_face = Nth(0);
  const std::string driving = Driving();
  const Result both = Run(crossed, driving), right = Run(alone, driving);
  for (size_t i = 0; i < right.outputs.size(); ++i) {
    EXPECT_TRUE(Columns(both.outputs[i], kModelSide, kModelSide) == right.outputs[i].data) << i;
  }
}

TEST_F(FurtherFacesTest, NotesAndErrorsNameThePair) {
  // The right person is gone for two frames.
  std::vector<Image> images;
  for (size_t i = 0; i < kFrames; ++i) images.push_back(SideBySide(left_[i], right_[i]));
  for (size_t i = 5; i < 7; ++i) {
    for (int y = 0; y < kSide; ++y) {
      const auto row = images[i].rgb.begin() + ptrdiff_t{3} * y * images[i].width;
      std::fill(row + ptrdiff_t{3} * kSide, row + ptrdiff_t{3} * images[i].width, uint8_t{90});
    }
  }
  const std::string gap = Video(images);
  const Result result = Run(Both(), gap);
  ASSERT_EQ(result.summary.further_frame_faces.size(), 1u);
  for (size_t i = 0; i < kFrames; ++i) {
    EXPECT_EQ(result.summary.frame_faces[i].origin, FrameFace::Origin::kFound) << i;
    EXPECT_EQ(result.summary.further_frame_faces[0][i].origin == FrameFace::Origin::kFound,
              i != 5 && i != 6)
        << i;
  }
  int noted = 0, cuts = 0;
  for (const FrameNote& note : result.summary.frame_notes) {
    if (note.note == "begins a new scene") {
      ++cuts;
      continue;
    }
    EXPECT_THAT(note.note, StartsWith("further_faces[0].driver_face: no face found"));
    EXPECT_TRUE(note.frame == 5 || note.frame == 6) << note.frame;
    ++noted;
  }
  EXPECT_EQ(noted, 2);
  EXPECT_LE(cuts, 2) << "told once, not for every face";

  JobRequest request = Both();
  request.no_face = NoFacePolicy::kFail;
  absl::Status status = Run(*engine_, request, gap).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "further_faces[0].driver_face: no face found in frame 5 of the driving video");

  // One person cannot drive two.
  request = Both();
  request.driver_face = request.further_faces[0].driver_face = FaceSelection();
  for (const SequencePlan plan : {SequencePlan::kCentralRandom, SequencePlan::kContiguous}) {
    request.plan = plan;
    status = Run(*engine_, request, Video(left_)).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(),
              absl::StrCat("further_faces[0].driver_face: no face found in any of the ", kFrames,
                           " frames of the driving video"));
  }
}

TEST_F(FurtherFacesTest, BadRequestsNameTheField) {
  const auto message = [](const std::function<void(JobRequest&)>& change) {
    JobRequest request = Both();
    change(request);
    const absl::Status status = engine_->CreateJob(request).status();
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  };
  EXPECT_EQ(message([](JobRequest& request) {
              const FacePair pair = request.further_faces[0];
              request.further_faces.assign(4, pair);
            }),
            "further_faces has 4 entries, must have at most 3");
  EXPECT_EQ(message([](JobRequest& request) {
              request.plan = SequencePlan::kContiguous;
              request.live = LiveOptions();
            }),
            "further_faces is set, must be empty in a live job");
  EXPECT_EQ(message([](JobRequest& request) { request.composition = Composition::kPasteBack; }),
            "further_faces[0].source has a picture or a text, must have only a face with the "
            "composition paste_back");
  EXPECT_EQ(message([](JobRequest& request) { request.further_faces[0].driver_face = Nth(0); }),
            "further_faces[0].driver_face.index is 0, must not be that of driver_face");
  EXPECT_EQ(message([](JobRequest& request) { request.further_faces[0].driver_face = Nth(64); }),
            "further_faces[0].driver_face.index must be 0..63, is 64");
  EXPECT_THAT(message([](JobRequest& request) {
                request.further_faces[0].source.image = DataFile("scikit-image/coffee.png");
              }),
              StartsWith("no face found in the further_faces[0].source image"));
  EXPECT_THAT(
      message([](JobRequest& request) { request.further_faces[0].source.image = "not an image"; }),
      StartsWith("further_faces[0].source image: "));
  EXPECT_EQ(message([](JobRequest& request) {
              request.further_faces[0].source = SourceRequest();
              request.further_faces[0].source.video = "a video";
            }),
            "further_faces[0].source.video is set, must be unset: only source may be a video");
  EXPECT_THAT(message([](JobRequest& request) {
                request.further_faces[0].source = SourceRequest();
                request.further_faces[0].source.face = Nth(3);
              }),
              StartsWith("further_faces[0].source.face fits none of the 1 faces"));
  EXPECT_EQ(message([](JobRequest& request) { request.further_faces[0].source.edit_strength = 2; }),
            "further_faces[0].source.edit_strength must be 0..1, is 2");
  EXPECT_THAT(message([](JobRequest& request) {
                request.motion_mode = MotionMode::kRelative;
                request.further_faces[0].source = SourceRequest();
                request.further_faces[0].source.text = "a face";
              }),
              StartsWith("further_faces[0].source: motion.mode"));
}

TEST_F(FurtherFacesTest, AVideoOfBothPlays) {
  JobRequest request = Both();
  request.format = OutputFormat::kFragmentedMp4;
  request.output_size = 96;
  auto video = VideoReader::Open(Run(request, Driving()).Bytes());
  ASSERT_TRUE(video.ok()) << video.status();
  EXPECT_EQ((*video)->info().width, 2 * 96);
  EXPECT_EQ((*video)->info().height, 96);
}

}  // namespace
}  // namespace reenact
