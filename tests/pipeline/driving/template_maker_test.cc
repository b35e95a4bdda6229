// Templates made of real footage, and driven by again: what a job sees by the template is what it
// sees by the video.
#include "pipeline/driving/template_maker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "pipeline/driving/motion_template.h"
#include "pipeline/face/face_blendshapes.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/resize.h"
#include "tests/pipeline/driving/template_testing.h"
#include "tests/pipeline/media/media_testing.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

using absl::StatusCode;
using testing::FailsWith;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr int kFrames = 24;

std::string FaceModelFile(const std::string& name) {
  const char* folder = std::getenv("REENACT_FACE_MODELS");
  return testing::ReadFile((folder != nullptr
                                ? std::string(folder)
                                : std::string(REENACT_SOURCE_DIR) + "/.deps/mediapipe") +
                           "/" + name);
}

// Skips the test where there are no face models or no footage.
#define REQUIRE_FACES()                                               \
  REENACT_REQUIRE_DATA();                                             \
  if (FaceModelFile("face_landmark_with_attention.tflite").empty()) { \
    GTEST_SKIP() << "the face models are not there";                  \
  }                                                                   \
  static_assert(true, "")

std::unique_ptr<FaceLandmarker> NewLandmarker() {
  FaceLandmarker::Options options;
  options.detector = FaceModelFile("face_detection_short_range.tflite");
  options.landmark_model = FaceModelFile("face_landmark_with_attention.tflite");
  auto landmarker = FaceLandmarker::Create(options);
  EXPECT_THAT(landmarker, IsOk());
  return landmarker.ok() ? *std::move(landmarker) : nullptr;
}

std::optional<FaceBlendshapes> NewBlendshapes() {
  auto shapes = FaceBlendshapes::Create(testing::ReadFile(
      testing::DataDir() + "/mediapipe/face_landmarker_v2_with_blendshapes.task"));
  if (!shapes.ok()) return std::nullopt;
  return *std::move(shapes);
}

FaceSourceOptions SourceOptions() {
  FaceSourceOptions options;
  options.max_frames = 1000;
  options.max_pixels = 1920 * 1080;
  options.read_audio = true;
  return options;
}

TemplateMakerOptions MakerOptions() {
  TemplateMakerOptions options;
  options.max_bytes = 64 << 20;
  options.source = SourceOptions();
  options.landmark_model_sha256 = std::string(64, 'b');
  return options;
}

// The beginning of a real clip, 320 pixels wide and not square, with its sound; the face is covered
// in four frames, and the second half shows another scene of the same person.
std::string Footage(const testing::TemporaryFolder& folder) {
  const std::string clip = testing::DataDir() + "/LivePortrait/driving/d18.mp4";
  const std::string file = folder / "footage.mp4";
  testing::Ffmpeg(folder, "-i " + clip +
                              " -vf \"scale=320:320,pad=400:320:40:0,drawbox=enable='between(n,6,"
                              "9)':color=gray:t=fill\" -frames:v " +
                              std::to_string(kFrames) +
                              " -shortest -c:v libx264 -crf 12 -c:a copy " + file);
  return testing::ReadFile(file);
}

struct Made {
  absl::Status status;
  std::string bytes;
  size_t largest_piece = 0;
  MotionSummary summary;
};

Made Make(MotionExtraction& maker, const std::string& file) {
  Made made;
  for (size_t at = 0; at < file.size(); at += 100'000) {
    made.status = maker.AddBytes(std::string_view(file).substr(at, 100'000));
    if (!made.status.ok()) return made;
  }
  made.status = maker.Finish();
  while (made.status.ok()) {
    std::string piece;
    const auto reading = maker.Read(&piece);
    made.status = reading.status();
    if (!reading.ok()) return made;
    made.bytes += piece;
    made.largest_piece = std::max(made.largest_piece, piece.size());
    if (*reading == MotionExtraction::Reading::kDone) break;
    EXPECT_EQ(*reading, MotionExtraction::Reading::kMore);
  }
  made.summary = maker.Summary();
  return made;
}

Made Make(const std::string& file, const TemplateMakerOptions& options = MakerOptions(),
          std::optional<FaceBlendshapes> blendshapes = std::nullopt) {
  return Make(*MakeTemplateMaker(options, NewLandmarker(), std::move(blendshapes)), file);
}

struct Seen {
  absl::Status status;
  std::unique_ptr<FaceSource> source;
  std::vector<FaceSource::Frame> frames;
  std::optional<AudioTrack> sound;
};

Seen See(std::string file, const FaceSourceOptions& options = SourceOptions()) {
  Seen seen;
  auto source = OpenFaceSource(std::move(file), options, NewLandmarker());
  seen.status = source.status();
  if (!source.ok()) return seen;
  seen.source = *std::move(source);
  seen.sound = seen.source->TakeAudio();
  while (true) {
    auto frame = seen.source->Next();
    seen.status = frame.status();
    if (!frame.ok() || !frame->has_value()) return seen;
    seen.frames.push_back(**std::move(frame));
  }
}

TEST(TemplateMaker, ATemplateDrivesAsItsVideoDoes) {
  REQUIRE_FACES();
  const testing::TemporaryFolder folder;
  const std::string video = Footage(folder);
  const Made made = Make(video);
  ASSERT_THAT(made.status, IsOk());
  const Seen by_video = See(video);
  ASSERT_THAT(by_video.status, IsOk());
  const Seen by_template = See(made.bytes);
  ASSERT_THAT(by_template.status, IsOk());

  const VideoInfo& info = by_template.source->info();
  EXPECT_EQ(info.width, 400);
  EXPECT_EQ(info.height, 320);
  EXPECT_EQ(info.time_base_num, by_video.source->info().time_base_num);
  EXPECT_EQ(info.time_base_den, by_video.source->info().time_base_den);
  EXPECT_EQ(info.frame_rate_num, by_video.source->info().frame_rate_num);
  EXPECT_EQ(info.frame_rate_den, by_video.source->info().frame_rate_den);
  EXPECT_EQ(info.num_frames_hint, kFrames);
  ASSERT_EQ(by_video.frames.size(), static_cast<size_t>(kFrames));
  ASSERT_EQ(by_template.frames.size(), static_cast<size_t>(kFrames));
  double worst = 0, sum = 0;
  int num_found = 0;
  for (size_t i = 0; i < by_video.frames.size(); ++i) {
    SCOPED_TRACE(i);
    const FaceSource::Frame& expected = by_video.frames[i];
    const FaceSource::Frame& frame = by_template.frames[i];
    EXPECT_EQ(frame.pts, expected.pts);
    EXPECT_EQ(frame.duration, expected.duration);
    EXPECT_EQ(frame.tracked.cut, expected.tracked.cut);
    ASSERT_EQ(frame.tracked.faces.size(), 1u);
    const TrackedFace &face = frame.tracked.faces[0], &original = expected.tracked.faces[0];
    EXPECT_EQ(face.person, original.person);
    EXPECT_EQ(face.confidence, original.confidence);
    ASSERT_EQ(face.landmarks.has_value(), original.landmarks.has_value());
    if (!face.landmarks.has_value()) continue;
    ++num_found;
    for (size_t k = 0; k < kNumLandmarks; ++k) {
      const Point3 &a = (*face.landmarks)[k], &b = (*original.landmarks)[k];
      const double off = std::hypot((a.x - b.x) * 400, (a.y - b.y) * 320, (a.z - b.z) * 400);
      worst = std::max(worst, off);
      sum += off;
    }
  }
  EXPECT_GE(num_found, kFrames - 6);
  EXPECT_LT(num_found, kFrames);
  // A face's trembling is some tenths of a pixel.
  EXPECT_LT(worst, 0.02);
  EXPECT_EQ(made.summary.frames, kFrames);
  EXPECT_EQ(made.summary.frames_with_face, num_found);
  EXPECT_EQ(made.summary.bytes_out, static_cast<int64_t>(made.bytes.size()));
  EXPECT_TRUE(made.summary.audio_copied);
  EXPECT_EQ(std::count_if(made.summary.frame_notes.begin(), made.summary.frame_notes.end(),
                          [](const FrameNote& note) { return note.note == "no face found"; }),
            kFrames - num_found);

  ASSERT_TRUE(by_video.sound.has_value() && by_template.sound.has_value());
  ASSERT_EQ(by_template.sound->packets.size(), by_video.sound->packets.size());
  size_t sound_bytes = 0;
  for (size_t i = 0; i < by_video.sound->packets.size(); ++i) {
    EXPECT_EQ(by_template.sound->packets[i].data, by_video.sound->packets[i].data);
    EXPECT_EQ(by_template.sound->packets[i].pts, by_video.sound->packets[i].pts);
    sound_bytes += by_video.sound->packets[i].data.size();
  }
  std::printf(
      "[ MEASURED ] %.0f bytes a frame besides the sound; landmarks off by %.5f pixels at most, "
      "%.5f on average\n",
      static_cast<double>(made.bytes.size() - sound_bytes) / num_found, worst,
      sum / num_found / kNumLandmarks);
}

TEST(TemplateMaker, HoldsBlendshapes) {
  REQUIRE_FACES();
  auto blendshapes = NewBlendshapes();
  if (!blendshapes.has_value()) GTEST_SKIP() << "the .task bundle is not there";
  const testing::TemporaryFolder folder;
  const Made made = Make(Footage(folder), MakerOptions(), std::move(blendshapes));
  ASSERT_THAT(made.status, IsOk());
  auto reader = MotionTemplateReader::Open(made.bytes, {});
  ASSERT_THAT(reader, IsOk());
  EXPECT_EQ((*reader)->info().blendshape_names.size(), 52u);
  EXPECT_EQ((*reader)->info().blendshape_names[25], "jawOpen");
  EXPECT_EQ((*reader)->info().landmark_model_sha256, std::string(64, 'b'));
  EXPECT_TRUE((*reader)->rest().has_value());
  blendshapes = NewBlendshapes();
  while (true) {
    const auto frame = (*reader)->Next();
    ASSERT_THAT(frame, IsOk());
    if (!frame->has_value()) break;
    if (!(*frame)->face.landmarks.has_value()) continue;
    ASSERT_EQ((*frame)->blendshapes.size(), 52u);
    const auto exact = blendshapes->Run(*(*frame)->face.landmarks, 400, 320);
    for (size_t i = 0; i < exact.size(); ++i) {
      // Half a step, and what the landmarks' own rounding makes of it.
      EXPECT_NEAR((*frame)->blendshapes[i], exact[i], 0.5 / 255 + 0.01) << kBlendshapeNames[i];
    }
  }
}

TEST(TemplateMaker, LeavesTheSoundOut) {
  REQUIRE_FACES();
  const testing::TemporaryFolder folder;
  TemplateMakerOptions options = MakerOptions();
  options.source.read_audio = false;
  const Made made = Make(Footage(folder), options);
  ASSERT_THAT(made.status, IsOk());
  EXPECT_FALSE(made.summary.audio_copied);
  const Seen seen = See(made.bytes);
  EXPECT_EQ(seen.frames.size(), static_cast<size_t>(kFrames));
  EXPECT_FALSE(seen.sound.has_value());
}

TEST(TemplateMaker, TakesAStillPicture) {
  REQUIRE_FACES();
  const std::string png = testing::ReadFile(testing::DataDir() + "/scikit-image/astronaut.png");
  const Seen seen = See(png);
  ASSERT_THAT(seen.status, IsOk());
  ASSERT_EQ(seen.frames.size(), 1u);
  EXPECT_EQ(seen.frames[0].pts, 0);
  // A 25th of a second.
  const VideoInfo& info = seen.source->info();
  EXPECT_EQ(seen.frames[0].duration * info.time_base_num * 25, info.time_base_den);
  EXPECT_TRUE(seen.frames[0].tracked.faces[0].landmarks.has_value());
  EXPECT_THAT(seen.source->Notes(), ::testing::ElementsAre(HasSubstr("still picture")));

  const Made made = Make(png);
  ASSERT_THAT(made.status, IsOk());
  EXPECT_EQ(made.summary.frames, 1);
  const Seen again = See(made.bytes);
  ASSERT_EQ(again.frames.size(), 1u);
  EXPECT_THAT(again.source->Notes(), ::testing::ElementsAre(HasSubstr("still picture")));

  EXPECT_THAT(See(png.substr(0, 5000)).status,
              FailsWith(StatusCode::kInvalidArgument, "driving picture: "));
  FaceSourceOptions options = SourceOptions();
  options.max_pixels = 1000;
  EXPECT_THAT(See(png, options).status,
              FailsWith(StatusCode::kResourceExhausted, "driving picture: "));
}

TEST(TemplateMaker, RefusesWhatCannotBeRead) {
  REQUIRE_FACES();
  EXPECT_THAT(Make("").status, FailsWith(StatusCode::kInvalidArgument, "no driving media"));
  EXPECT_THAT(Make("no video at all").status,
              FailsWith(StatusCode::kInvalidArgument, "driving video: "));
  TemplateMakerOptions options = MakerOptions();
  options.max_bytes = 10;
  EXPECT_THAT(Make("more than ten bytes", options).status,
              FailsWith(StatusCode::kResourceExhausted, "larger than 10 bytes"));
  EXPECT_THAT(Make(testing::ReadFile(testing::DataDir() + "/scikit-image/coffee.png")).status,
              FailsWith(StatusCode::kInvalidArgument,
                        "no face found in any of the 1 frames of the driving video"));
  EXPECT_THAT(Make(testing::WriteTemplate(testing::TestInfo(), testing::TestFrames(2))).status,
              FailsWith(StatusCode::kInvalidArgument, "is a motion template already"));
}

TEST(TemplateMaker, RefusesChoicesThatATemplateCannotServe) {
  REQUIRE_FACES();
  const std::string bytes = testing::WriteTemplate(testing::TestInfo(), testing::TestFrames(2));
  FaceSourceOptions options = SourceOptions();
  options.faces = {FaceChoice{}, FaceChoice{}};
  EXPECT_THAT(See(bytes, options).status,
              FailsWith(StatusCode::kInvalidArgument, "further_faces has 1 entries"));
  options.faces = {FaceChoice{}};
  options.faces[0].by = FaceChoice::By::kIndex;
  EXPECT_THAT(See(bytes, options).status,
              FailsWith(StatusCode::kInvalidArgument, "driver_face is set, must not be"));
  options = SourceOptions();
  options.max_frames = 1;
  EXPECT_THAT(See(bytes, options).status,
              FailsWith(StatusCode::kResourceExhausted, "more than 1 frames"));
}

TEST(TemplateMaker, StopsWhenCancelled) {
  REQUIRE_FACES();
  const testing::TemporaryFolder folder;
  auto maker = MakeTemplateMaker(MakerOptions(), NewLandmarker(), std::nullopt);
  ASSERT_THAT(maker->AddBytes(Footage(folder)), IsOk());
  std::string bytes;
  auto reading = maker->Read(&bytes);
  ASSERT_THAT(reading, IsOk());
  EXPECT_EQ(*reading, MotionExtraction::Reading::kNeedsInput);
  ASSERT_THAT(maker->Finish(), IsOk());
  ASSERT_THAT(maker->Read(&bytes), IsOk());
  maker->Cancel();
  EXPECT_THAT(maker->Read(&bytes), FailsWith(StatusCode::kCancelled, "cancelled"));
}

// However long the sound, a piece of the template is a bounded one.
TEST(TemplateMaker, GivesTheSoundInPieces) {
  REQUIRE_FACES();
  const testing::TemporaryFolder folder;
  const std::string picture = testing::DataDir() + "/scikit-image/astronaut.png";
  testing::Ffmpeg(folder, "-loop 1 -framerate 1 -t 3 -i " + picture +
                              " -f lavfi -i anoisesrc=duration=120:sample_rate=48000 -c:v libx264 "
                              "-pix_fmt yuv420p -c:a flac " +
                              (folder / "a.mkv"));
  const Made made = Make(testing::ReadFile(folder / "a.mkv"));
  ASSERT_THAT(made.status, IsOk());
  EXPECT_GT(made.bytes.size(), size_t{2} << 20);
  EXPECT_LT(made.largest_piece, size_t{300} << 10);
}

}  // namespace
}  // namespace reenact
