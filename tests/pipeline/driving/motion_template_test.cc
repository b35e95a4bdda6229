// The motion template's format: what is written is read back, and what is spoilt is refused by
// name.
#include "pipeline/driving/motion_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <limits>
#include <utility>

#include "tests/pipeline/driving/template_testing.h"
#include "tests/pipeline/media/media_testing.h"

namespace reenact {
namespace {

using absl::StatusCode;
using testing::FailsWith;
using testing::IsOk;
using testing::RawTemplate;
using testing::TestFrames;
using testing::TestInfo;
using testing::WriteTemplate;

struct Read {
  absl::Status status;
  std::unique_ptr<MotionTemplateReader> reader;
  std::vector<MotionTemplateFrame> frames;
  AudioTrack sound;
};

// All of it: the file is opened, its sound read, and every frame.
Read ReadTemplate(std::string bytes, const MotionTemplateReader::Limits& limits = {}) {
  Read read;
  auto reader = MotionTemplateReader::Open(std::move(bytes), limits);
  read.status = reader.status();
  if (!reader.ok()) return read;
  read.reader = *std::move(reader);
  auto sound = read.reader->ReadSound();
  read.status = sound.status();
  if (!sound.ok()) return read;
  read.sound = *std::move(sound);
  while (true) {
    auto frame = read.reader->Next();
    read.status = frame.status();
    if (!frame.ok() || !frame->has_value()) return read;
    read.frames.push_back(**std::move(frame));
  }
}

// In pixels of TestInfo's picture.
double WorstPixel(const Landmarks& a, const Landmarks& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max({worst, 640.0 * std::abs(double{a[i].x} - b[i].x),
                      360.0 * std::abs(double{a[i].y} - b[i].y),
                      640.0 * std::abs(double{a[i].z} - b[i].z)});
  }
  return worst;
}

TEST(MotionTemplate, GivesBackWhatWasWritten) {
  const auto frames = TestFrames(40);
  const std::string bytes = WriteTemplate(TestInfo(), frames, nullptr, {"a note"});
  EXPECT_TRUE(LooksLikeMotionTemplate(bytes));
  const Read read = ReadTemplate(bytes);
  ASSERT_THAT(read.status, IsOk());
  const MotionTemplateInfo& info = read.reader->info();
  EXPECT_EQ(info.width, 640);
  EXPECT_EQ(info.height, 360);
  EXPECT_EQ(info.time_base_num, 1);
  EXPECT_EQ(info.time_base_den, 12800);
  EXPECT_EQ(info.frame_rate_num, 25);
  EXPECT_EQ(info.num_frames_hint, 40);
  EXPECT_EQ(info.landmark_model_sha256, std::string(64, 'a'));
  EXPECT_THAT(info.blendshape_names, ::testing::ElementsAre("jawOpen", "mouthClose"));
  EXPECT_THAT(read.reader->notes(), ::testing::ElementsAre("a note"));
  EXPECT_EQ(read.reader->num_frames(), 40);
  EXPECT_EQ(read.reader->num_frames_with_face(), 35);
  EXPECT_FALSE(read.reader->has_sound());
  EXPECT_TRUE(read.sound.empty());
  ASSERT_EQ(read.frames.size(), frames.size());
  double worst = 0;
  for (size_t i = 0; i < frames.size(); ++i) {
    SCOPED_TRACE(i);
    const MotionTemplateFrame& frame = read.frames[i];
    EXPECT_EQ(frame.pts, frames[i].pts);
    EXPECT_EQ(frame.duration, frames[i].duration);
    EXPECT_EQ(frame.cut, frames[i].cut);
    EXPECT_EQ(frame.face.person, frames[i].face.person);
    EXPECT_EQ(frame.face.confidence, frames[i].face.confidence);
    ASSERT_EQ(frame.face.landmarks.has_value(), frames[i].face.landmarks.has_value());
    if (!frame.face.landmarks.has_value()) {
      EXPECT_TRUE(frame.blendshapes.empty());
      continue;
    }
    worst = std::max(worst, WorstPixel(*frame.face.landmarks, *frames[i].face.landmarks));
    EXPECT_NEAR(frame.face.box.left, frames[i].face.box.left, 1e-4);
    EXPECT_NEAR(frame.face.box.bottom, frames[i].face.box.bottom, 1e-4);
    ASSERT_EQ(frame.blendshapes.size(), 2u);
    EXPECT_NEAR(frame.blendshapes[0], 0.25, 0.5 / 255 + 1e-6);
    EXPECT_EQ(frame.blendshapes[1], 1);
  }
  // Half a step of 1/1024 cm on three axes, of a head of 18 cm in 200 pixels.
  EXPECT_LT(worst, 0.5 / 1024 * std::sqrt(3) * 200 / 18 + 1e-4);
  std::printf("[ MEASURED ] %zu bytes a frame with a face, worst coordinate off by %.5f pixels\n",
              bytes.size() / 35, worst);
}

TEST(MotionTemplate, HasTheDriversFaceAtRest) {
  const Read read = ReadTemplate(WriteTemplate(TestInfo(), TestFrames(30)));
  ASSERT_THAT(read.status, IsOk());
  ASSERT_TRUE(read.reader->rest().has_value());
  const HeadShape& rest = *read.reader->rest();
  double sum = 0;
  for (size_t i = 0; i < rest.size(); ++i) sum += Length(rest[i] - CanonicalShape()[i]);
  EXPECT_LT(sum / static_cast<double>(rest.size()), 0.5);
}

TEST(MotionTemplate, TakesLandmarksThatAreNoHead) {
  auto frames = TestFrames(3);
  for (size_t i = 0; i < kNumLandmarks; ++i) {
    // A line, and one point: no pose fits.
    (*frames[0].face.landmarks)[i] = {0.001f * static_cast<float>(i), 0.5f, 0};
    (*frames[1].face.landmarks)[i] = {0.5f, 0.5f, 0.1f};
    // One point far away.
    if (i == 100) (*frames[2].face.landmarks)[i] = {9, -7, 3};
  }
  const Read read = ReadTemplate(WriteTemplate(TestInfo(), frames));
  ASSERT_THAT(read.status, IsOk());
  ASSERT_EQ(read.frames.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_LT(WorstPixel(*read.frames[i].face.landmarks, *frames[i].face.landmarks), 0.3) << i;
  }
}

TEST(MotionTemplate, KeepsTheSoundBitByBit) {
  const testing::TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"aac -b:a 96k", "mp4"}, {"libopus -ar 48000", "mkv"},
      {"libmp3lame", "mkv"},   {"flac", "mkv"},
      {"alac", "mov"},         {"ac3", "mkv"},
      {"pcm_s16le", "mov"}};  // the last is transcoded
  for (const auto& [codec, container] : kinds) {
    SCOPED_TRACE(codec);
    const std::string file = folder / ("a." + container);
    testing::Ffmpeg(folder,
                    "-f lavfi -i testsrc2=size=64x64:rate=10:duration=1 -f lavfi -i "
                    "sine=duration=1:sample_rate=44100 -c:v libx264 -c:a " +
                        codec + " " + file);
    auto video = VideoReader::Open(testing::ReadFile(file));
    ASSERT_THAT(video, IsOk());
    auto sound = (*video)->ReadAudio();
    ASSERT_THAT(sound, IsOk());
    ASSERT_FALSE(sound->empty());
    const Read read = ReadTemplate(WriteTemplate(TestInfo(), TestFrames(2), &*sound));
    ASSERT_THAT(read.status, IsOk());
    EXPECT_TRUE(read.reader->has_sound());
    EXPECT_EQ(read.sound.codec, sound->codec);
    EXPECT_EQ(read.sound.transcoded_from, sound->transcoded_from);
    EXPECT_EQ(read.sound.sample_rate, sound->sample_rate);
    EXPECT_EQ(read.sound.channels, sound->channels);
    ASSERT_EQ(read.sound.packets.size(), sound->packets.size());
    for (size_t i = 0; i < sound->packets.size(); ++i) {
      EXPECT_EQ(read.sound.packets[i].data, sound->packets[i].data);
      EXPECT_EQ(read.sound.packets[i].pts, sound->packets[i].pts);
      EXPECT_EQ(read.sound.packets[i].dts, sound->packets[i].dts);
      EXPECT_EQ(read.sound.packets[i].duration, sound->packets[i].duration);
    }
    // Whatever plays it cannot tell the two.
    const auto write = [](const AudioTrack& track) {
      VideoWriter::Options options;
      options.width = options.height = 64;
      options.time_base_den = 10;
      options.audio = track;
      return testing::Join(testing::WriteClip(options, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 1));
    };
    EXPECT_EQ(write(read.sound), write(*sound));
  }
}

TEST(MotionTemplate, TellsWhereItIsCutOff) {
  const std::string bytes = WriteTemplate(TestInfo(), TestFrames(4));
  // Everywhere but where only the mark of the format is spoilt.
  for (size_t size = 8; size < bytes.size(); size += size < 200 ? 1 : 97) {
    EXPECT_THAT(ReadTemplate(bytes.substr(0, size)).status,
                FailsWith(StatusCode::kInvalidArgument, "cut off after"))
        << size;
  }
  EXPECT_THAT(ReadTemplate(bytes.substr(0, bytes.size() - 1)).status,
              FailsWith(StatusCode::kInvalidArgument, "it is cut off after 4 frames"));
  EXPECT_FALSE(LooksLikeMotionTemplate(bytes.substr(0, 7)));
  EXPECT_THAT(ReadTemplate(bytes + "x").status,
              FailsWith(StatusCode::kInvalidArgument, "1 bytes follow its end"));
}

TEST(MotionTemplate, TellsDamageByItsChecksum) {
  const std::string bytes = WriteTemplate(TestInfo(), TestFrames(4));
  const RawTemplate raw(bytes);
  EXPECT_EQ(raw.Bytes(), bytes) << "the checksum is that of the format's description";
  // Within messages: the structure stays whole.
  std::string damaged = bytes;
  damaged[bytes.size() / 2] = static_cast<char>(damaged[bytes.size() / 2] ^ 1);
  EXPECT_THAT(ReadTemplate(damaged).status,
              FailsWith(StatusCode::kInvalidArgument, "it is damaged: crc32 is"));
}

TEST(MotionTemplate, TellsAnotherVersion) {
  std::string bytes = WriteTemplate(TestInfo(), TestFrames(1));
  bytes[8] = 2;
  EXPECT_TRUE(LooksLikeMotionTemplate(bytes));
  EXPECT_THAT(ReadTemplate(bytes).status,
              FailsWith(StatusCode::kInvalidArgument, "version is 2, must be 1"));
}

TEST(MotionTemplate, RefusesOtherKindsAndOrders) {
  const RawTemplate raw(WriteTemplate(TestInfo(), TestFrames(1)));
  const std::string begin = std::string("\x89RMOT\r\n\x1A\x01\0\0\0", 12);
  std::string bytes = begin;
  RawTemplate::Append(3, raw.frames[0].SerializeAsString(), &bytes);
  EXPECT_THAT(ReadTemplate(bytes).status,
              FailsWith(StatusCode::kInvalidArgument, "byte 12 is the first and no header"));
  bytes = begin;
  RawTemplate::Append(1, raw.header.SerializeAsString(), &bytes);
  const size_t second = bytes.size();
  RawTemplate::Append(1, raw.header.SerializeAsString(), &bytes);
  EXPECT_THAT(ReadTemplate(bytes).status,
              FailsWith(StatusCode::kInvalidArgument,
                        "byte " + std::to_string(second) + " is a second header"));
  bytes.resize(second);
  RawTemplate::Append(9, "x", &bytes);
  EXPECT_THAT(ReadTemplate(bytes).status,
              FailsWith(StatusCode::kInvalidArgument, "has the kind 9, must have 1..4"));
}

TEST(MotionTemplate, NamesTheFieldThatIsOutOfRange) {
  const std::string good = WriteTemplate(TestInfo(), TestFrames(3));
  ASSERT_THAT(ReadTemplate(RawTemplate(good).Bytes()).status, IsOk());
  const float nan = std::numeric_limits<float>::quiet_NaN();
  struct Case {
    std::string message;
    std::function<void(RawTemplate&)> spoil;
  };
  const auto face = [](RawTemplate& raw) { return raw.frames[1].mutable_face(); };
  const std::vector<Case> cases = {
      {"time_base_numerator is 0, must be 1..1000000000",
       [](auto& raw) { raw.header.set_time_base_numerator(0); }},
      {"time_base_denominator is -5", [](auto& raw) { raw.header.set_time_base_denominator(-5); }},
      {"width is 0, must be 1..65535", [](auto& raw) { raw.header.set_width(0); }},
      {"height is 70000, must be 1..65535", [](auto& raw) { raw.header.set_height(70000); }},
      {"frame_rate_denominator is 0", [](auto& raw) { raw.header.set_frame_rate_denominator(0); }},
      {"point_step is 0, must be", [](auto& raw) { raw.header.set_point_step(0); }},
      {"point_step is nan", [nan](auto& raw) { raw.header.set_point_step(nan); }},
      {"blendshape_names is 300, must be 0..256",
       [](auto& raw) {
         for (int i = 0; i < 298; ++i) raw.header.add_blendshape_names("x");
       }},
      {"it has no frames",
       [](auto& raw) {
         raw.frames.clear();
         raw.end.set_frames(0);
         raw.end.set_frames_with_face(0);
       }},
      {"end.frames is 1000000000000, but there are 3",
       [](auto& raw) { raw.end.set_frames(1'000'000'000'000); }},
      {"end.frames is 3, but there are 2", [](auto& raw) { raw.frames.pop_back(); }},
      {"end.frames_with_face is 2, but there are 3",
       [](auto& raw) { raw.end.set_frames_with_face(2); }},
      {"end.frames_with_face is 4, must be 0..3",
       [](auto& raw) { raw.end.set_frames_with_face(4); }},
      {"end.audio_packets is 1, but there are 0", [](auto& raw) { raw.end.set_audio_packets(1); }},
      {"end.rest has 1 numbers, must have 1434 or none",
       [](auto& raw) {
         raw.end.clear_rest();
         raw.end.add_rest(1);
       }},
      {"end.rest is 40000", [](auto& raw) { raw.end.set_rest(3, 40000); }},
      {"end.notes has 65 entries",
       [](auto& raw) {
         for (int i = 0; i < 65; ++i) raw.end.add_notes("x");
       }},
      {"end.notes has an entry of 1001 bytes",
       [](auto& raw) { raw.end.add_notes(std::string(1001, 'x')); }},
      {"frame 1: pts is 0, must be 768, where the frame before ends",
       [](auto& raw) { raw.frames[1].set_pts(0); }},
      {"frame 2: pts is 1000, must be 1280", [](auto& raw) { raw.frames[2].set_pts(1000); }},
      {"frame 0: duration is 0, must be 1..", [](auto& raw) { raw.frames[0].set_duration(0); }},
      {"frame 0: duration is -3", [](auto& raw) { raw.frames[0].set_duration(-3); }},
      {"frame 0: duration is 9223372036854775807",
       [](auto& raw) { raw.frames[0].set_duration(INT64_MAX); }},
      {"frame 0: pts is -9223372036854775808", [](auto& raw) { raw.frames[0].set_pts(INT64_MIN); }},
      {"frame 1: person is -1", [](auto& raw) { raw.frames[1].set_person(-1); }},
      {"frame 1: face.confidence is nan, must be 0.5..1",
       [&](auto& raw) { face(raw)->set_confidence(nan); }},
      {"frame 1: face.confidence is 0.1", [&](auto& raw) { face(raw)->set_confidence(0.1f); }},
      {"frame 1: the length of face.rotation is 0",
       [&](auto& raw) {
         face(raw)->set_rotation_w(0);
         face(raw)->set_rotation_x(0);
         face(raw)->set_rotation_y(0);
         face(raw)->set_rotation_z(0);
       }},
      {"frame 1: the length of face.rotation is nan",
       [&](auto& raw) { face(raw)->set_rotation_y(nan); }},
      {"frame 1: face.place_x is inf",
       [&](auto& raw) { face(raw)->set_place_x(std::numeric_limits<float>::infinity()); }},
      {"frame 1: face.place_y is nan", [&](auto& raw) { face(raw)->set_place_y(nan); }},
      {"frame 1: face.place_z is 101", [&](auto& raw) { face(raw)->set_place_z(101); }},
      {"frame 1: face.scale is 0", [&](auto& raw) { face(raw)->set_scale(0); }},
      {"frame 1: face.scale is nan", [&](auto& raw) { face(raw)->set_scale(nan); }},
      {"frame 1: face.points has 1435 numbers, must have 1434",
       [&](auto& raw) { face(raw)->add_points(0); }},
      {"frame 1: face.points has 0 numbers", [&](auto& raw) { face(raw)->clear_points(); }},
      {"frame 1: face.points, summed up, is",
       [&](auto& raw) { face(raw)->set_points(5, INT32_MAX); }},
      {"frame 1: face.blendshapes has 1 numbers, must have 2",
       [&](auto& raw) { face(raw)->set_blendshapes("x"); }},
      {"sound is not set, but there are 1 packets",
       [](auto& raw) {
         raw.sound.emplace_back().set_data("x");
         raw.end.set_audio_packets(1);
       }},
  };
  for (const Case& bad : cases) {
    RawTemplate raw(good);
    bad.spoil(raw);
    EXPECT_THAT(ReadTemplate(raw.Bytes()).status,
                FailsWith(StatusCode::kInvalidArgument, bad.message));
  }
}

TEST(MotionTemplate, NamesWhatIsWrongWithTheSound) {
  const testing::TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  "-f lavfi -i testsrc2=size=64x64:rate=10:duration=0.3 -f lavfi -i "
                  "sine=duration=0.3 -c:v libx264 -c:a aac " +
                      (folder / "a.mp4"));
  auto video = VideoReader::Open(testing::ReadFile(folder / "a.mp4"));
  ASSERT_THAT(video, IsOk());
  const auto sound = (*video)->ReadAudio();
  ASSERT_THAT(sound, IsOk());
  const std::string good = WriteTemplate(TestInfo(), TestFrames(3), &*sound);
  ASSERT_THAT(ReadTemplate(good).status, IsOk());
  const std::vector<std::pair<std::string, std::function<void(RawTemplate&)>>> cases = {
      {"the sound's codec is \"h264\"",
       [](auto& raw) { raw.header.mutable_sound()->set_codec("h264"); }},
      {"the sound's codec is \"\"", [](auto& raw) { raw.header.mutable_sound()->set_codec(""); }},
      {"the sound's channel_layout is \"of some\"",
       [](auto& raw) { raw.header.mutable_sound()->set_channel_layout("of some"); }},
      {"the sound's sample_format is \"f17\"",
       [](auto& raw) { raw.header.mutable_sound()->set_sample_format("f17"); }},
      {"the sound (pcm_s16le) does not fit",
       [](auto& raw) { raw.header.mutable_sound()->set_codec("pcm_s16le"); }},
      {"sound.sample_rate is 0", [](auto& raw) { raw.header.mutable_sound()->set_sample_rate(0); }},
      {"sound.time_base_denominator is 0",
       [](auto& raw) { raw.header.mutable_sound()->set_time_base_denominator(0); }},
      {"sound.frame_size is -1", [](auto& raw) { raw.header.mutable_sound()->set_frame_size(-1); }},
      {"the size of sound.extradata is 1048577",
       [](auto& raw) {
         raw.header.mutable_sound()->set_extradata(std::string((1 << 20) + 1, 'x'));
       }},
      {"audio packet 2: dts is", [](auto& raw) { raw.sound[2].set_dts(raw.sound[1].dts()); }},
      {"audio packet 2: pts is", [](auto& raw) { raw.sound[2].set_pts(raw.sound[2].dts() - 1); }},
      {"audio packet 0: duration is -1", [](auto& raw) { raw.sound[0].set_duration(-1); }},
      {"audio packet 1: size of data is 0", [](auto& raw) { raw.sound[1].clear_data(); }},
  };
  for (const auto& [message, spoil] : cases) {
    RawTemplate raw(good);
    spoil(raw);
    EXPECT_THAT(ReadTemplate(raw.Bytes()).status, FailsWith(StatusCode::kInvalidArgument, message));
  }
}

TEST(MotionTemplate, KeepsItsLimits) {
  const std::string bytes = WriteTemplate(TestInfo(), TestFrames(20));
  EXPECT_THAT(ReadTemplate(bytes, {.max_frames = 19}).status,
              FailsWith(StatusCode::kResourceExhausted, "more than 19 frames"));
  EXPECT_THAT(ReadTemplate(bytes, {.max_frames = 20}).status, IsOk());
  EXPECT_THAT(ReadTemplate(bytes, {.max_duration_seconds = 0.5}).status,
              FailsWith(StatusCode::kResourceExhausted, "at most 0.5 are accepted"));
}

TEST(MotionTemplate, StaysRefusedAfterAnError) {
  RawTemplate raw(WriteTemplate(TestInfo(), TestFrames(3)));
  raw.frames[1].set_duration(0);
  auto reader = MotionTemplateReader::Open(raw.Bytes(), {});
  ASSERT_THAT(reader, IsOk());
  EXPECT_THAT((*reader)->Next(), IsOk());
  EXPECT_THAT((*reader)->Next(), FailsWith(StatusCode::kInvalidArgument, "frame 1: duration"));
  EXPECT_THAT((*reader)->Next(), FailsWith(StatusCode::kInvalidArgument, "frame 1: duration"));
}

}  // namespace
}  // namespace reenact
