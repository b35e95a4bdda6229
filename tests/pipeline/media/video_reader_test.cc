#include "pipeline/media/video_reader.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "pipeline/media/container_check.h"
#include "tests/pipeline/media/media_testing.h"

namespace reenact {
namespace {

using testing::Clip;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using testing::FailsWith;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;
using testing::ReadClip;
using ::testing::SizeIs;
using testing::TemporaryFolder;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kTooMuch = absl::StatusCode::kResourceExhausted;

// A moving test picture from the ffmpeg tool: `encoding` and the file name end the command.
constexpr char kSource[] = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=1 ";

// Reads `file` and holds every frame and time against the ffmpeg tool.
void ExpectAsFfmpeg(const TemporaryFolder& folder, const std::string& file) {
  const Clip clip = ReadClip(testing::ReadFile(file));
  ASSERT_THAT(clip.end, IsOk());
  ASSERT_FALSE(clip.frames.empty());
  const bool is_deep = clip.info.pixel_format.ends_with("le");
  const std::string expected = testing::FfmpegRgb(
      folder, file, is_deep ? "-vf scale=flags=bicubic+accurate_rnd+full_chroma_int" : "");
  const size_t frame_size = clip.frames[0].image.rgb.size();
  EXPECT_EQ(clip.frames.size(), expected.size() / frame_size);
  // EXPECT_EQ would print megabytes.
  EXPECT_TRUE(testing::Rgb(clip) == expected)
      << "worst and mean difference: "
      << ::testing::PrintToString(testing::Difference(testing::Rgb(clip), expected));
  const std::vector<int64_t> times = testing::Probe(folder, file, "frame=best_effort_timestamp");
  ASSERT_THAT(times, SizeIs(clip.frames.size()));
  for (size_t i = 0; i < times.size(); ++i) {
    // AVI has no times of presentation, and nothing can tell the last B-frame's: -1.
    if (times[i] < 0) continue;
    EXPECT_EQ(clip.frames[i].pts, times[i]) << "frame " << i;
  }
  for (size_t i = 0; i + 1 < clip.frames.size(); ++i) {
    EXPECT_EQ(clip.frames[i].pts + clip.frames[i].duration, clip.frames[i + 1].pts);
  }
  EXPECT_GT(clip.frames.back().duration, 0);
}

struct Format {
  const char* name;
  const char* file;
  const char* command;  // without kSource if it names its own input
};

class FormatTest : public ::testing::TestWithParam<Format> {};

TEST_P(FormatTest, FramesAndTimesEqualTheFfmpegTool) {
  TemporaryFolder folder;
  const std::string file = folder / GetParam().file;
  const std::string command = GetParam().command;
  const bool has_input = command.find("-i ") != std::string::npos;
  testing::Ffmpeg(folder, (has_input ? "" : kSource) + command + " " + file);

  ExpectAsFfmpeg(folder, file);
}

const Format kFormats[] = {
    {"Film", "a.mp4", "-r 24000/1001 -c:v libx264"},
    {"Ntsc", "a.mp4", "-r 30000/1001 -c:v libx264"},
    {"NtscFields", "a.mp4", "-r 60000/1001 -c:v libx264 -bf 2"},
    {"NtscMatroska", "a.mkv", "-r 30000/1001 -c:v libx264"},
    {"NtscTransport", "a.mkv", "-r 60000/1001 -c:v mpeg2video"},
    {"BFramesWithEditList", "a.mp4", "-c:v libx264 -bf 3 -b_strategy 0"},
    {"FragmentedMp4", "a.mp4", "-c:v libx264 -movflags frag_keyframe+empty_moov -g 5"},
    {"VariableRateMatroska", "a.mkv",
     "-vf select='not(eq(mod(n\\,7)\\,3))' -vsync vfr -c:v libx264"},
    {"VariableRateMp4", "a.mp4", "-vf select='not(eq(mod(n\\,5)\\,1))' -vsync vfr -c:v libx264"},
    {"OddSize", "a.mkv", "-vf scale=127:95 -c:v ffv1 -pix_fmt yuv420p"},
    {"OddWidth444", "a.mp4", "-vf scale=133:97 -c:v libx264 -pix_fmt yuv444p"},
    {"TenBit", "a.mp4", "-c:v libx264 -pix_fmt yuv420p10le"},
    {"TenBitBt2020", "a.mp4",
     "-vf scale=out_color_matrix=bt2020nc,setparams=colorspace=bt2020nc:color_primaries=bt2020 "
     "-c:v libx265 -x265-params log-level=none:pools=none -pix_fmt yuv420p10le"},
    {"Bt709", "a.mp4",
     "-vf scale=out_color_matrix=bt709,setparams=colorspace=bt709 -c:v libx264 -pix_fmt yuv420p"},
    {"FullRange", "a.mp4",
     "-vf scale=out_range=full,setparams=range=pc -c:v libx264 -pix_fmt yuv420p"},
    {"FullRangeMjpeg", "a.avi", "-c:v mjpeg -pix_fmt yuvj420p"},
    {"FourTwoTwo", "a.mov", "-c:v prores_ks -pix_fmt yuv422p10le"},
    {"PlanarRgb", "a.mp4", "-c:v libx264rgb -pix_fmt rgb24"},
    {"Grey", "a.mkv", "-c:v ffv1 -pix_fmt gray"},
    {"Palette", "a.gif", "-r 10"},
    {"AviWithBFrames", "a.avi", "-c:v mpeg4 -bf 2"},
    {"WebmVp9", "a.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"},
    {"WebmVp8", "a.webm", "-c:v libvpx -deadline realtime -cpu-used 8"},
    {"OggTheora", "a.ogv", "-c:v libtheora"},
    {"Flv", "a.flv", "-c:v flv"},
    {"StartOffset", "a.mp4", "-c:v libx264 -output_ts_offset 0.72"},
    {"OneFrame", "a.mp4", "-frames:v 1 -c:v libx264"},
    {"ManyStreams", "a.mkv",
     "-f lavfi -i sine -f lavfi -i testsrc2=size=160x120:duration=1 -f lavfi -i "
     "testsrc=size=64x64:duration=1 -map 0:a -map 1:v -map 2:v -t 1 -c:v libx264 -c:a aac"},
};
INSTANTIATE_TEST_SUITE_P(All, FormatTest, ::testing::ValuesIn(kFormats),
                         [](const auto& param) { return std::string(param.param.name); });

// Goes to every frame of `file` from behind, and to some in no order, and compares each with what
// it was the first time, but for the pixels of those that are `guessed`. Returns the most frames
// that were decoded for one of them.
int64_t ExpectSameWhenGoneBackTo(const std::string& file, const std::set<size_t>& guessed = {}) {
  const std::string bytes = testing::ReadFile(file);
  const Clip clip = ReadClip(bytes);
  EXPECT_THAT(clip.end, IsOk());
  auto reader = VideoReader::Open(bytes, {}, /*goes_back=*/true);
  EXPECT_THAT(reader.status(), IsOk());
  if (!reader.ok()) return 0;
  const auto expect_next = [&](size_t i) {
    const auto frame = (*reader)->Next();
    if (!frame.ok() || !frame->has_value()) {
      ADD_FAILURE() << "no frame " << i << ": " << frame.status();
      return;
    }
    EXPECT_EQ((*frame)->pts, clip.frames[i].pts) << i;
    EXPECT_EQ((*frame)->duration, clip.frames[i].duration) << i;
    EXPECT_TRUE(guessed.contains(i) || (*frame)->image.rgb == clip.frames[i].image.rgb) << i;
  };
  const size_t count = clip.frames.size();
  for (size_t i = 0; i < count; ++i) expect_next(i);
  EXPECT_FALSE((*reader)->Next()->has_value());
  const VideoReport report = (*reader)->report();
  std::vector<size_t> order;
  for (size_t i = count; i-- > 0;) order.push_back(i);
  for (size_t i = 0; i < 7; ++i) order.push_back(i * 7919 % count);
  int64_t most = 0;
  for (const size_t i : order) {
    const int64_t before = (*reader)->num_decoded();
    const auto went = (*reader)->GoBack(static_cast<int>(i));
    EXPECT_TRUE(went.ok() && *went) << i << ": " << went.status();
    most = std::max(most, (*reader)->num_decoded() - before);
    for (size_t k = i; k < std::min(i + 3, count); ++k) expect_next(k);
  }
  for (size_t i = order.back() + 3; i < count; ++i) expect_next(i);
  EXPECT_FALSE((*reader)->Next()->has_value());
  EXPECT_EQ((*reader)->report().num_damaged_packets, report.num_damaged_packets);
  EXPECT_EQ((*reader)->report().num_concealed, report.num_concealed);
  EXPECT_EQ((*reader)->report().num_deinterlaced, report.num_deinterlaced);
  EXPECT_EQ((*reader)->report().num_repaired_timestamps, report.num_repaired_timestamps);
  return most;
}

TEST_P(FormatTest, FramesAreTheSameWhenGoneBackTo) {
  TemporaryFolder folder;
  const std::string file = folder / GetParam().file;
  const std::string command = GetParam().command;
  const bool has_input = command.find("-i ") != std::string::npos;
  testing::Ffmpeg(folder, (has_input ? "" : kSource) + command + " " + file);

  ExpectSameWhenGoneBackTo(file);
}

// Key frames all 6 frames, by every codec's own rules of what may lie around them.
const Format kKeyFrames[] = {
    {"H264", "a.mp4", "-c:v libx264 -g 6 -bf 2"},
    {"H264OpenGroups", "a.mkv", "-c:v libx264 -g 6 -bf 2 -x264-params open-gop=1:scenecut=0"},
    {"H264InATransportStream", "a.ts", "-c:v libx264 -g 6 -bf 2"},
    {"H264Fragmented", "a.mp4", "-c:v libx264 -g 6 -movflags frag_keyframe+empty_moov"},
    {"H264Interlaced", "a.mp4",
     "-vf tinterlace=4,fieldorder=tff -c:v libx264 -g 6 -flags +ildct+ilme -x264opts tff=1"},
    {"HevcOpenGroups", "a.mp4",
     "-c:v libx265 -x265-params log-level=none:pools=none:keyint=6:min-keyint=6:open-gop=1"},
    {"Mpeg2OpenGroups", "a.ts", "-c:v mpeg2video -g 6 -bf 2"},
    {"Mpeg4", "a.avi", "-c:v mpeg4 -g 6"},
    {"Vp9", "a.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 6"},
    {"Av1", "a.mp4", "-c:v libsvtav1 -preset 12 -g 6"},
    {"Mjpeg", "a.mov", "-c:v mjpeg"},
};

class KeyFrameTest : public ::testing::TestWithParam<Format> {};

TEST_P(KeyFrameTest, GoingBackDecodesFromTheKeyFrameBefore) {
  TemporaryFolder folder;
  const std::string file = folder / GetParam().file;
  testing::Ffmpeg(folder, absl::StrCat(kSource, GetParam().command, " ", file));

  // A group of frames, the frame ahead, and what lies before an open group.
  EXPECT_LE(ExpectSameWhenGoneBackTo(file), 6 + 1 + 3);
}

INSTANTIATE_TEST_SUITE_P(KeyFrames, KeyFrameTest, ::testing::ValuesIn(kKeyFrames),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(VideoReaderTest, ARefreshWithoutKeyFramesIsDecodedFromTheStart) {
  TemporaryFolder folder;
  const std::string file = folder / "a.mp4";
  testing::Ffmpeg(folder, absl::StrCat(kSource, "-c:v libx264 -g 8 -bf 0 -x264-params ",
                                       "intra-refresh=1 ", file));
  ExpectSameWhenGoneBackTo(file);
}

TEST(VideoReaderTest, DamageIsTheSameWhenGoneBackTo) {
  TemporaryFolder folder;
  const std::string file = folder / "a.mp4";
  testing::Ffmpeg(folder, absl::StrCat(kSource, "-c:v libx264 -g 6 -bf 0 ", file));
  std::string bytes = testing::ReadFile(file);
  const std::vector<int64_t> places = testing::Probe(folder, file, "packet=pos");
  ASSERT_THAT(places, SizeIs(25));
  const size_t middle = static_cast<size_t>(places[14] + (places[15] - places[14]) / 2);
  for (size_t i = 0; i < 16; ++i) bytes[middle + i] = '\x55';
  std::ofstream(file, std::ios::binary) << bytes;

  // To the next key frame.
  ExpectSameWhenGoneBackTo(file, {14, 15, 16, 17});
}

TEST(VideoReaderTest, OnlyAReaderThatKeepsPacketsGoesBack) {
  TemporaryFolder folder;
  const std::string file = folder / "a.mp4";
  testing::Ffmpeg(folder, absl::StrCat(kSource, "-c:v libx264 ", file));
  auto reader = VideoReader::Open(testing::ReadFile(file));
  ASSERT_THAT(reader.status(), IsOk());
  ASSERT_THAT((*reader)->Next().status(), IsOk());

  EXPECT_EQ(*(*reader)->GoBack(0), false);

  EXPECT_EQ((*reader)->TakeFile(), testing::ReadFile(file));
  EXPECT_THAT((*reader)->Next(), FailsWith(absl::StatusCode::kFailedPrecondition, "taken"));
}

TEST(VideoReaderTest, RealClipsEqualTheFfmpegTool) {
  REENACT_REQUIRE_DATA();
  TemporaryFolder folder;

  for (const char* name : {"/LivePortrait/driving/d18.mp4", "/LivePortrait/driving/d0.mp4"}) {
    SCOPED_TRACE(name);
    ExpectAsFfmpeg(folder, testing::DataDir() + name);
  }
}

TEST(VideoReaderTest, InfoDescribesTheClip) {
  REENACT_REQUIRE_DATA();

  auto reader =
      VideoReader::Open(testing::ReadFile(testing::DataDir() + "/LivePortrait/driving/d18.mp4"));

  ASSERT_THAT(reader, IsOk());
  const VideoInfo& info = (*reader)->info();
  EXPECT_EQ(info.width, 480);
  EXPECT_EQ(info.height, 480);
  EXPECT_EQ(info.time_base_num, 1);
  EXPECT_EQ(info.time_base_den, 15360);
  EXPECT_EQ(info.frame_rate_num, 30 * info.frame_rate_den);
  EXPECT_EQ(info.num_frames_hint, 216);
  EXPECT_NEAR(info.duration_seconds, 7.2, 0.05);
  EXPECT_EQ(info.codec, "h264");
  EXPECT_EQ(info.pixel_format, "yuv420p");
  EXPECT_TRUE(info.has_audio);
  EXPECT_EQ(info.audio_codec, "aac");
  EXPECT_EQ((*reader)->num_repaired_timestamps(), 0);
}

TEST(VideoReaderTest, VariableRateKeepsEveryDuration) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) +
                              "-frames:v 6 -vf setpts='(N+N*N)/25/TB' -vsync vfr -c:v libx264 "
                              "-video_track_timescale 25 " +
                              (folder / "a.mp4"));

  const Clip clip = ReadClip(testing::ReadFile(folder / "a.mp4"));

  ASSERT_THAT(clip.end, IsOk());
  EXPECT_THAT(testing::Pts(clip), ElementsAre(0, 2, 6, 12, 20, 30));
  EXPECT_EQ(clip.frames[3].duration, 8);
}

// The edit list of a stream copy cut between key frames hides the frames before the cut.
TEST(VideoReaderTest, EditListHidesFramesAsFfmpegDoes) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v libx264 -bf 2 -g 10 " + (folder / "a.mp4"));
  testing::Ffmpeg(folder, "-ss 0.3 -i " + (folder / "a.mp4") + " -c copy " + (folder / "b.mp4"));

  ExpectAsFfmpeg(folder, folder / "b.mp4");
}

class RotationTest : public ::testing::TestWithParam<int> {};

// The tool turns before it converts to RGB, we after: chroma is interpolated in another order. So
// close, not equal.
TEST_P(RotationTest, RotatedClipStandsUpright) {
  TemporaryFolder folder;
  const std::string tag = std::to_string(GetParam());
  testing::Ffmpeg(folder,
                  "-f lavfi -i gradients=size=160x96:rate=5:duration=1:seed=3:nb_colors=4 -c:v "
                  "libx264 -crf 5 -pix_fmt yuv420p " +
                      (folder / "a.mp4"));
  testing::Ffmpeg(folder, "-i " + (folder / "a.mp4") + " -c copy -metadata:s:v:0 rotate=" + tag +
                              " " + (folder / "b.mp4"));

  const Clip clip = ReadClip(testing::ReadFile(folder / "b.mp4"));

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(5));
  const bool is_quarter = GetParam() % 180 != 0;
  EXPECT_EQ(clip.info.width, is_quarter ? 96 : 160);
  EXPECT_EQ(clip.info.height, is_quarter ? 160 : 96);
  // The tag counts counter-clockwise.
  EXPECT_EQ(clip.info.rotation_degrees, 360 - GetParam());
  const std::string expected = testing::FfmpegRgb(folder, folder / "b.mp4");
  const auto [worst, mean] = testing::Difference(testing::Rgb(clip), expected);
  EXPECT_LE(worst, 8);
  EXPECT_LT(mean, 1.0);
}
INSTANTIATE_TEST_SUITE_P(Tags, RotationTest, ::testing::Values(90, 180, 270));

TEST(VideoReaderTest, TransportStreamCountsFromItsStart) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v libx264 -bf 0 " + (folder / "a.ts"));

  const Clip clip = ReadClip(testing::ReadFile(folder / "a.ts"));

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(25));
  EXPECT_EQ(clip.frames[0].pts, 0);  // 1.4 seconds in the file
  EXPECT_EQ(clip.frames[24].pts, 24 * 3600);
}

// A transport stream recorded from its middle: what comes before the first key frame cannot be
// shown.
TEST(VideoReaderTest, TransportStreamMayBeginBetweenKeyFrames) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v libx264 -bf 0 -g 10 " + (folder / "a.ts"));
  const std::string bytes = testing::ReadFile(folder / "a.ts");
  const size_t start = bytes.size() / 188 / 5 * 188;
  testing::WriteFile(folder / "b.ts", bytes.substr(start));

  const Clip clip = ReadClip(bytes.substr(start));

  ASSERT_THAT(clip.end, IsOk());
  EXPECT_GT(clip.frames.size(), 5u);
  EXPECT_EQ(clip.frames.size() * 160 * 120 * 3, testing::FfmpegRgb(folder, folder / "b.ts").size());
  EXPECT_EQ(clip.report.num_damaged_packets, 0);
}

// ---- Input that is no video, or not a whole one ----

class CutTest : public ::testing::TestWithParam<Format> {};

TEST_P(CutTest, CutClipGivesItsFramesThenSaysHowMany) {
  TemporaryFolder folder;
  const std::string file = folder / GetParam().file;
  testing::Ffmpeg(folder, std::string("-f lavfi -i testsrc2=size=160x120:rate=25:duration=2 ") +
                              GetParam().command + " " + file);
  const std::string bytes = testing::ReadFile(file);
  ASSERT_EQ(FindCutOff(bytes), "");
  const size_t num_frames = ReadClip(bytes).frames.size();
  ASSERT_EQ(num_frames, 50u);

  // Not on a packet's border by chance: three places.
  for (size_t size : {bytes.size() * 5 / 10 + 1, bytes.size() * 7 / 10 + 3, bytes.size() - 7}) {
    SCOPED_TRACE(size);
    const Clip clip = ReadClip(bytes.substr(0, size));
    const std::string count = std::to_string(clip.frames.size()) + " frame";
    EXPECT_LE(clip.frames.size(), num_frames);
    EXPECT_THAT(clip.end, FailsWith(kInvalid, "cut off"));
    EXPECT_THAT(std::string(clip.end.message()), HasSubstr(count));
    EXPECT_GT(clip.frames.size(), 10u);
  }
}

const Format kCutFormats[] = {
    {"FastStartMp4", "a.mp4", "-c:v libx264 -movflags +faststart"},
    {"FragmentedMp4", "a.mp4", "-c:v libx264 -g 5 -movflags frag_keyframe+empty_moov"},
    {"Matroska", "a.mkv", "-c:v libx264"},
    {"WebM", "a.webm", "-c:v libvpx -deadline realtime -cpu-used 8"},
    {"Avi", "a.avi", "-c:v mpeg4"},
    {"Flv", "a.flv", "-c:v flv"},
    {"Ogg", "a.ogv", "-c:v libtheora"},
    {"MpegTs", "a.ts", "-c:v mpeg2video"},
    {"Gif", "a.gif", ""},
};
INSTANTIATE_TEST_SUITE_P(All, CutTest, ::testing::ValuesIn(kCutFormats),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(VideoReaderTest, RealClipCutInTheMiddleIsRefused) {
  REENACT_REQUIRE_DATA();
  const std::string bytes = testing::ReadFile(testing::DataDir() + "/LivePortrait/driving/d18.mp4");

  const Clip clip = ReadClip(bytes.substr(0, bytes.size() / 2));

  EXPECT_THAT(clip.end, FailsWith(kInvalid, "cut off"));
}

TEST(VideoReaderTest, Mp4WithoutItsIndexIsCutOff) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v libx264 " + (folder / "a.mp4"));
  const std::string bytes = testing::ReadFile(folder / "a.mp4");  // its index comes last

  const Clip clip = ReadClip(bytes.substr(0, bytes.size() * 9 / 10));

  EXPECT_THAT(clip.end, FailsWith(kInvalid, "no frame could be read"));
}

// Whatever decodes comes out, at its own time, and what does not is counted. (Behind a damaged PNG
// signature the tool's parser joins two pictures: one packet, two frames.)
TEST(VideoReaderTest, DamagedPacketsAreLeftOutAndCounted) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v png -pix_fmt rgb24 " + (folder / "a.mkv"));
  std::string bytes = testing::ReadFile(folder / "a.mkv");
  const Clip whole = ReadClip(bytes);
  // The eleventh picture's signature.
  size_t at = 0;
  for (int i = 0; i < 11; ++i) at = bytes.find("\x89PNG", at + 1);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 4, "oops");

  const Clip clip = ReadClip(bytes);

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(23));
  EXPECT_EQ(clip.report.num_damaged_packets, 1);
  EXPECT_THAT(
      DescribeReport(clip.info, clip.report, "driving video"),
      ElementsAre(
          "1 packet of the driving video does not decode; the frame before is shown longer"));
  EXPECT_EQ(clip.frames[9].duration, 3 * whole.frames[9].duration);
  for (int i = 0; i < 23; ++i) {
    const VideoFrame& same = whole.frames[i < 10 ? i : i + 2];
    EXPECT_EQ(clip.frames[i].pts, same.pts);
    EXPECT_TRUE(clip.frames[i].image.rgb == same.image.rgb) << i;
  }
}

// A decoder that hides damage says so, and every frame still comes.
TEST(VideoReaderTest, GuessedPartsAreCounted) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v libx264 -bf 0 -g 25 " + (folder / "a.mp4"));
  std::string bytes = testing::ReadFile(folder / "a.mp4");
  const std::vector<int64_t> places = testing::Probe(folder, folder / "a.mp4", "packet=pos");
  ASSERT_THAT(places, SizeIs(25));
  const size_t middle = static_cast<size_t>(places[12] + (places[13] - places[12]) / 2);
  for (size_t i = 0; i < 16; ++i) bytes[middle + i] = '\x55';

  const Clip clip = ReadClip(bytes);

  ASSERT_THAT(clip.end, IsOk());
  EXPECT_GE(clip.frames.size(), 24u);
  EXPECT_GE(clip.report.num_concealed + clip.report.num_damaged_packets, 1);
}

TEST(VideoReaderTest, OnlyDamageIsNoVideo) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  std::string(kSource) + "-c:v libx264 -movflags +faststart " + (folder / "a.mp4"));
  std::string bytes = testing::ReadFile(folder / "a.mp4");
  const size_t data = bytes.find("mdat");
  ASSERT_NE(data, std::string::npos);
  std::fill(bytes.begin() + static_cast<ptrdiff_t>(data) + 4, bytes.end(), '\xAA');

  EXPECT_THAT(ReadClip(bytes).end, FailsWith(kInvalid, "damaged: 0 frames could be read"));
}

TEST(VideoReaderTest, OtherBytesAreNoVideo) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, "-f lavfi -i sine=duration=1 " + (folder / "a.wav"));
  testing::Ffmpeg(folder, std::string(kSource) + "-frames:v 1 " + (folder / "a.png"));
  const std::string text(5000, 'a');
  std::string noise;
  for (uint32_t i = 0, x = 1; i < 20000; ++i, x = x * 1664525 + 1013904223) {
    noise += static_cast<char>(x >> 24);
  }

  EXPECT_THAT(ReadClip("").end, FailsWith(kInvalid, "empty"));
  for (const std::string& bytes :
       {text, noise, std::string("x"), std::string(100'000, '\0'),
        std::string("1\n00:00:01,000 --> 00:00:02,000\nHello\n"),
        testing::ReadFile(folder / "a.wav"), testing::ReadFile(folder / "a.png")}) {
    EXPECT_THAT(ReadClip(bytes).end, FailsWith(kInvalid, "not a video in a supported container"));
  }
}

// Formats that make a reader open other files or addresses.
TEST(VideoReaderTest, PlaylistsAreRefused) {
  const std::string playlists[] = {
      "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
      "ffconcat version 1.0\nfile /etc/passwd\n",
      "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"><Period/></MPD>",
      "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
  };
  for (const std::string& playlist : playlists) {
    const Clip clip = ReadClip(playlist);
    EXPECT_THAT(clip.end, FailsWith(kInvalid, "not a video in a supported container"));
    EXPECT_THAT(std::string(clip.end.message()), Not(HasSubstr("passwd")));
  }
}

TEST(VideoReaderTest, SoundOnlyIsRefused) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, "-f lavfi -i sine=duration=1 -c:a aac " + (folder / "a.m4a"));

  EXPECT_THAT(ReadClip(testing::ReadFile(folder / "a.m4a")).end,
              FailsWith(kInvalid, "sound but no video track"));
}

TEST(VideoReaderTest, CoverPictureIsNoVideo) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-frames:v 1 " + (folder / "cover.png"));
  testing::Ffmpeg(folder, "-f lavfi -i sine=duration=1 -i " + (folder / "cover.png") +
                              " -map 0:a -map 1:v -c:a aac -c:v copy -disposition:v attached_pic " +
                              (folder / "a.m4a"));

  EXPECT_THAT(ReadClip(testing::ReadFile(folder / "a.m4a")).end,
              FailsWith(kInvalid, "no video track"));
}

TEST(VideoReaderTest, NoFramesIsRefused) {
  // An init segment alone: a video track, and nothing in it.
  VideoWriter::Options options;
  options.width = options.height = 64;
  options.time_base_den = 25;
  const auto pieces = testing::WriteClip(options, {0, 1}, 1);
  ASSERT_FALSE(pieces.empty());

  EXPECT_THAT(ReadClip(pieces[0].data).end, FailsWith(kInvalid, "no frames"));
}

TEST(VideoReaderTest, LimitsAreEnforced) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v libx264 " + (folder / "a.mp4"));
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v libx264 -g 5 -movflags " +
                              "frag_keyframe+empty_moov " + (folder / "fragmented.mp4"));
  testing::Ffmpeg(folder, std::string("-f lavfi -i sine=duration=1 -map 0 -map 0 -map 0 -map 0 ") +
                              "-c:a aac " + (folder / "many.mkv"));
  const std::string bytes = testing::ReadFile(folder / "a.mp4");
  const std::string fragmented = testing::ReadFile(folder / "fragmented.mp4");

  EXPECT_THAT(ReadClip(bytes, {.max_frames = 25}).end, IsOk());
  EXPECT_THAT(ReadClip(bytes, {.max_frames = 24}).end, FailsWith(kTooMuch, "at most 24"));
  // Fragments do not say how many frames there are: found out on the way.
  EXPECT_THAT(ReadClip(fragmented, {.max_frames = 25}).end, IsOk());
  EXPECT_THAT(ReadClip(fragmented, {.max_frames = 24}).end,
              FailsWith(kTooMuch, "more than 24 frames"));
  EXPECT_THAT(ReadClip(bytes, {.max_pixels = 160 * 120}).end, IsOk());
  EXPECT_THAT(ReadClip(bytes, {.max_pixels = 160 * 120 - 1}).end, FailsWith(kTooMuch, "160 x 120"));
  EXPECT_THAT(ReadClip(bytes, {.max_duration_seconds = 0.5}).end, FailsWith(kTooMuch, "seconds"));
  EXPECT_THAT(ReadClip(testing::ReadFile(folder / "many.mkv"), {.max_streams = 3}).end,
              FailsWith(kTooMuch, "the video has 4 tracks; at most 3"));
}

TEST(VideoReaderTest, FiftyTracksAreRefusedByNumber) {
  TemporaryFolder folder;
  std::string maps;
  for (int i = 0; i < 49; ++i) maps += " -map 1:a";
  const std::string inputs = std::string("-f lavfi -i testsrc2=size=64x64:duration=0.2 -f lavfi ") +
                             "-i sine=duration=0.2:sample_rate=8000 -map 0:v " + maps;
  for (const char* file : {"a.mkv", "a.mp4", "a.ts"}) {
    SCOPED_TRACE(file);
    testing::Ffmpeg(folder, inputs + " -c:v mpeg4 -c:a mp2 -ar 16000 " + (folder / file));
    EXPECT_THAT(ReadClip(testing::ReadFile(folder / file)).end,
                FailsWith(kTooMuch, "the video has 50 tracks; at most 32"));
    EXPECT_THAT(ReadClip(testing::ReadFile(folder / file), {.max_streams = 50}).end, IsOk());
  }
}

// The length is known from the header, or found out while reading.
TEST(VideoReaderTest, AnHourIsTooMuchForTenMinutes) {
  TemporaryFolder folder;
  const std::string source =
      "-f lavfi -i color=size=16x16:rate=1:duration=3600 -c:v mpeg4 -g 3600 ";
  testing::Ffmpeg(folder, source + (folder / "a.mp4"));
  testing::Ffmpeg(folder, source + "-live 1 " + (folder / "live.mkv"));

  for (const char* file : {"a.mp4", "live.mkv"}) {
    SCOPED_TRACE(file);
    const Clip clip = ReadClip(testing::ReadFile(folder / file), {.max_duration_seconds = 600});
    EXPECT_THAT(clip.end, FailsWith(kTooMuch, "at most 600 are accepted"));
    EXPECT_LE(clip.frames.size(), 601u);
  }
}

TEST(VideoReaderTest, WorkOnOneFrameIsLimited) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v libx264 " + (folder / "a.mp4"));
  const std::string bytes = testing::ReadFile(folder / "a.mp4");

  EXPECT_THAT(ReadClip(bytes, {.max_seconds_per_frame = 1e-9}).end,
              FailsWith(kTooMuch, "reading the video's header takes more than 1e-09 seconds"));
  auto reader = VideoReader::Open(bytes, {.max_seconds_per_frame = 10});
  ASSERT_THAT(reader, IsOk());
  EXPECT_THAT((*reader)->Next(), IsOk());
}

// An index of 12 bytes that would take gigabytes.
TEST(VideoReaderTest, IndexThatTheFileCannotHoldIsRefused) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  std::string(kSource) + "-c:v libx264 -movflags +faststart " + (folder / "a.mp4"));
  std::string bytes = testing::ReadFile(folder / "a.mp4");
  ASSERT_EQ(FindImpossibleIndex(bytes), "");
  const size_t sizes = bytes.find("stsz");
  ASSERT_NE(sizes, std::string::npos);
  // All samples of 1000 bytes; 100,000,000 of them.
  bytes.replace(sizes + 8, 8, std::string("\x00\x00\x03\xE8\x05\xF5\xE1\x00", 8));

  EXPECT_THAT(ReadClip(bytes).end, FailsWith(kInvalid, "lists 100000000 samples of 1000 bytes"));
}

TEST(VideoReaderTest, EndAndErrorsRepeat) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  std::string(kSource) + "-c:v libx264 -movflags +faststart " + (folder / "a.mp4"));
  const std::string bytes = testing::ReadFile(folder / "a.mp4");

  auto whole = VideoReader::Open(bytes);
  auto cut = VideoReader::Open(bytes.substr(0, bytes.size() - 50));
  ASSERT_THAT(whole, IsOk());
  ASSERT_THAT(cut, IsOk());
  for (int i = 0; i < 25; ++i) ASSERT_THAT((*whole)->Next(), IsOk());
  while ((*cut)->Next().ok()) {
  }

  EXPECT_EQ((*whole)->Next().value(), std::nullopt);
  EXPECT_EQ((*whole)->Next().value(), std::nullopt);
  EXPECT_THAT((*cut)->Next(), FailsWith(kInvalid, "24 frames could be read"));
}

TEST(VideoReaderTest, SizeChangeInsideAStreamKeepsTheFirstSize) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v mpeg2video " + (folder / "a.ts"));
  testing::Ffmpeg(folder,
                  "-f lavfi -i testsrc2=size=320x240:rate=25:duration=1 -c:v mpeg2video "
                  "-output_ts_offset 1 " +
                      (folder / "b.ts"));

  const Clip clip =
      ReadClip(testing::ReadFile(folder / "a.ts") + testing::ReadFile(folder / "b.ts"));

  ASSERT_THAT(clip.end, IsOk());
  EXPECT_GE(clip.frames.size(), 49u);
  for (const VideoFrame& frame : clip.frames) EXPECT_EQ(frame.image.width, 160);
  EXPECT_EQ(clip.report.num_resized, 25);
  EXPECT_THAT(
      DescribeReport(clip.info, clip.report, "driving video"),
      ::testing::Contains(
          "25 frames of the driving video have another size than the first, scaled to 160 x 120"));
}

TEST(VideoReaderTest, SizeMayChangeInH264) {
  TemporaryFolder folder;
  // The parameter sets lie in the stream, so recordings can be joined.
  std::string joined;
  for (const std::string size : {"160x120", "96x64", "200x200"}) {
    testing::Ffmpeg(folder, "-f lavfi -i testsrc2=rate=25:duration=0.4:size=" + size +
                                " -c:v libx264 -bf 0 " + (folder / size) + ".h264");
    joined += testing::ReadFile(folder / (size + ".h264"));
  }
  testing::WriteFile(folder / "all.h264", joined);
  for (const char* file : {"a.mp4", "a.mkv"}) {
    SCOPED_TRACE(file);
    testing::Ffmpeg(folder,
                    "-f h264 -r 25 -i " + (folder / "all.h264") + " -c copy " + (folder / file));
    const Clip clip = ReadClip(testing::ReadFile(folder / file));
    ASSERT_THAT(clip.end, IsOk());
    EXPECT_THAT(clip.frames, SizeIs(30));
    for (const VideoFrame& frame : clip.frames) EXPECT_EQ(frame.image.height, 120);
    EXPECT_EQ(clip.report.num_resized, 20);
  }
}

// ---- Colours ----

// 24 flat patches of 32 x 32 pixels: primaries, skin and greys.
constexpr int kPatchSide = 32;
constexpr uint8_t kPatches[][3] = {
    {255, 0, 0},     {0, 255, 0},     {0, 0, 255},     {255, 255, 0},   {0, 255, 255},
    {255, 0, 255},   {0, 0, 0},       {255, 255, 255}, {128, 128, 128}, {64, 64, 64},
    {192, 192, 192}, {224, 172, 144}, {141, 85, 36},   {198, 134, 66},  {255, 219, 172},
    {94, 60, 40},    {30, 90, 160},   {160, 30, 60},   {40, 140, 70},   {200, 200, 40},
    {120, 60, 180},  {250, 130, 20},  {16, 16, 16},    {235, 235, 235}};
constexpr int kPatchColumns = 6;
constexpr int kPatchRows = 4;

std::string PatchPicture() {
  std::string rgb;
  for (int y = 0; y < kPatchRows * kPatchSide; ++y) {
    for (int x = 0; x < kPatchColumns * kPatchSide; ++x) {
      const auto& patch = kPatches[y / kPatchSide * kPatchColumns + x / kPatchSide];
      for (const uint8_t value : patch) rgb += static_cast<char>(value);
    }
  }
  return rgb;
}

struct Colours {
  const char* name;
  const char* file;
  const char* matrix;  // as FFmpeg's scaler names it
  const char* tag;     // as setparams names it
  const char* range;
  const char* encoding;
};
class ColoursTest : public ::testing::TestWithParam<Colours> {};

// Each patch, coded without loss in the matrix and range that the file declares, comes back within
// three levels of 255 and without a bias of one: 8 limited bits and the scaler's fast path round
// that much, more bits cost one level at most. A wrong matrix costs 20 and more, a wrong range 15.
TEST_P(ColoursTest, DoNotShift) {
  const Colours& colours = GetParam();
  TemporaryFolder folder;
  testing::WriteFile(folder / "patches.rgb", PatchPicture());
  const std::string file = folder / colours.file;
  testing::Ffmpeg(folder, absl::StrCat("-f rawvideo -pix_fmt rgb24 -s ", kPatchColumns * kPatchSide,
                                       "x", kPatchRows * kPatchSide, " -i ", folder / "patches.rgb",
                                       " -vf scale=out_color_matrix=", colours.matrix,
                                       ":out_range=", colours.range,
                                       ":flags=accurate_rnd+full_chroma_int+bicubic",
                                       ",setparams=colorspace=", colours.tag,
                                       ":range=", colours.range, " ", colours.encoding, " ", file));

  const Clip clip = ReadClip(testing::ReadFile(file));

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(1));
  const int limit = clip.info.pixel_format.ends_with("le") ? 1 : 3;
  int worst = 0;
  double sums[3] = {};
  for (int i = 0; i < static_cast<int>(std::size(kPatches)); ++i) {
    const int y = i / kPatchColumns * kPatchSide + kPatchSide / 2;
    const int x = i % kPatchColumns * kPatchSide + kPatchSide / 2;
    for (int c = 0; c < 3; ++c) {
      const int error = clip.frames[0].image.row(y)[3 * x + c] - kPatches[i][c];
      worst = std::max(worst, std::abs(error));
      sums[c] += error;
      EXPECT_LE(std::abs(error), limit) << "patch " << i << ", channel " << c;
    }
  }
  for (const double sum : sums) EXPECT_LE(std::abs(sum), 1.0 * std::size(kPatches));
  RecordProperty("worst_patch_error", worst);
}

const Colours kColours[] = {
    {"Bt601", "a.mp4", "bt601", "smpte170m", "tv", "-pix_fmt yuv420p -c:v libx264 -qp 0"},
    {"Bt601Full", "a.mp4", "bt601", "bt470bg", "pc", "-pix_fmt yuv420p -c:v libx264 -qp 0"},
    {"Bt709", "a.mp4", "bt709", "bt709", "tv", "-pix_fmt yuv420p -c:v libx264 -qp 0"},
    {"Bt709Full", "a.mp4", "bt709", "bt709", "pc", "-pix_fmt yuv420p -c:v libx264 -qp 0"},
    {"Bt709TenBit", "a.mp4", "bt709", "bt709", "tv", "-pix_fmt yuv420p10le -c:v libx264 -qp 0"},
    {"Bt709TenBitFull", "a.mp4", "bt709", "bt709", "pc", "-pix_fmt yuv444p10le -c:v libx264 -qp 0"},
    {"Bt2020TenBit", "a.mp4", "bt2020nc", "bt2020nc", "tv",
     "-pix_fmt yuv420p10le -c:v libx264 -qp 0"},
    {"Bt2020TwelveBit", "a.mkv", "bt2020nc", "bt2020nc", "tv", "-pix_fmt yuv422p12le -c:v ffv1"},
    {"Bt2020Full", "a.mkv", "bt2020nc", "bt2020nc", "pc", "-pix_fmt yuv420p10le -c:v ffv1"},
    {"Unmarked", "a.mkv", "bt601", "unknown", "tv", "-pix_fmt yuv420p -c:v ffv1"},
    {"Mjpeg", "a.avi", "bt601", "bt470bg", "pc", "-pix_fmt yuvj420p -c:v mjpeg -q:v 1"},
    {"Vp9Bt709", "a.webm", "bt709", "bt709", "tv",
     "-pix_fmt yuv420p -c:v libvpx-vp9 -lossless 1 -cpu-used 8 -deadline realtime"},
    {"Rgb", "a.mp4", "bt709", "gbr", "pc", "-pix_fmt rgb24 -c:v libx264rgb -qp 0"},
};
INSTANTIATE_TEST_SUITE_P(All, ColoursTest, ::testing::ValuesIn(kColours),
                         [](const auto& param) { return std::string(param.param.name); });

// ---- Interlaced pictures ----

double Psnr(const std::string& a, const std::string& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = static_cast<uint8_t>(a[i]) - static_cast<uint8_t>(b[i]);
    sum += difference * difference;
  }
  return 10 * std::log10(255.0 * 255 * static_cast<double>(a.size()) / sum);
}

struct Interlacing {
  const char* name;
  const char* file;
  const char* weave;  // filter
  const char* encoding;
};
class InterlacedTest : public ::testing::TestWithParam<Interlacing> {};

// Fields of 50 Hz woven into 25 frames: what comes out is near the pictures at the first fields'
// times, much nearer than the comb, and about as near as the tool's own deinterlacer gets.
TEST_P(InterlacedTest, FirstFieldsPictureComesOut) {
  TemporaryFolder folder;
  const std::string source = "-f lavfi -i smptehdbars=size=192x144:rate=50:duration=1 ";
  testing::Ffmpeg(folder, source + "-vf scroll=h=0.02:v=0.01,tinterlace=mode=" + GetParam().weave +
                              " " + GetParam().encoding + " " + (folder / GetParam().file));
  const std::string truth =
      testing::Ffmpeg(folder, source +
                                  "-vf scroll=h=0.02:v=0.01,select='not(mod(n\\,2))' -vsync 0 -f "
                                  "rawvideo -pix_fmt rgb24 -");

  const Clip clip = ReadClip(testing::ReadFile(folder / GetParam().file));

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(25));
  EXPECT_EQ(clip.report.num_deinterlaced, 25);
  EXPECT_THAT(DescribeReport(clip.info, clip.report, "driving video"),
              ElementsAre("25 frames of the driving video were interlaced and deinterlaced"));
  const double ours = Psnr(testing::Rgb(clip), truth);
  const double comb = Psnr(testing::FfmpegRgb(folder, folder / GetParam().file), truth);
  const double tool =
      Psnr(testing::Ffmpeg(folder, "-i " + (folder / GetParam().file) +
                                       " -vf yadif -vsync 0 -f rawvideo -pix_fmt rgb24 -"),
           truth);
  RecordProperty("psnr", absl::StrCat(ours, " comb ", comb, " yadif ", tool));
  EXPECT_GT(ours, comb + 2);
  EXPECT_GT(ours, tool - 1.5);
}
const Interlacing kInterlaced[] = {
    {"TopFirst", "a.mp4", "interleave_top",
     "-c:v libx264 -crf 8 -pix_fmt yuv420p -flags +ilme+ildct -x264opts tff=1"},
    {"BottomFirst", "a.mp4", "interleave_bottom",
     "-c:v libx264 -crf 8 -pix_fmt yuv420p -flags +ilme+ildct -x264opts bff=1"},
    {"Mpeg2", "a.ts", "interleave_top",
     "-c:v mpeg2video -q:v 2 -pix_fmt yuv422p -flags +ilme+ildct -top 1"},
    {"TenBit", "a.mov", "interleave_top",
     "-c:v prores_ks -pix_fmt yuv422p10le -flags +ilme+ildct -top 1 -field_order tt"},
};
INSTANTIATE_TEST_SUITE_P(All, InterlacedTest, ::testing::ValuesIn(kInterlaced),
                         [](const auto& param) { return std::string(param.param.name); });

// Where nothing moves both fields are one picture: from the second frame on nothing is lost.
TEST(VideoReaderTest, InterlacedPictureAtRestIsUntouched) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  "-f lavfi -i smptehdbars=size=192x144:rate=25:duration=0.4 -c:v ffv1 -pix_fmt "
                  "yuv420p -flags +ilme+ildct -vf setfield=tff " +
                      (folder / "a.mkv"));

  const Clip clip = ReadClip(testing::ReadFile(folder / "a.mkv"));

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_EQ(clip.report.num_deinterlaced, 10);
  const size_t frame = clip.frames[0].image.rgb.size();
  EXPECT_TRUE(testing::Rgb(clip).substr(frame) ==
              testing::FfmpegRgb(folder, folder / "a.mkv").substr(frame));
}

// ---- Times ----

// Frames whose container has no times of presentation at all: one after the other.
TEST(VideoReaderTest, MissingTimesAreMadeUp) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v mpeg2video -bf 0 " + (folder / "a.ts"));
  std::string bytes = testing::ReadFile(folder / "a.ts");
  // Every packet that begins a picture (payload start of the video track): its header says that it
  // has no times, where they were lies stuffing (ISO 13818-1, 2.4.3.7).
  int num_stripped = 0;
  for (size_t at = 0; at + 188 <= bytes.size(); at += 188) {
    const size_t start = bytes.find(std::string("\0\0\1\xE0", 4), at);
    if (start == std::string::npos || start >= at + 188) continue;
    if (++num_stripped <= 5) continue;  // so that the rate is known
    bytes[start + 7] = '\0';
    const size_t length = static_cast<uint8_t>(bytes[start + 8]);
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(start) + 9, length, '\xFF');
  }
  ASSERT_EQ(num_stripped, 25);

  const Clip clip = ReadClip(bytes);

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(25));
  for (int i = 0; i < 25; ++i) EXPECT_EQ(clip.frames[i].pts, i * 3600) << i;
}

// A clock that jumps back (two recordings, one after the other): later frames follow on.
TEST(VideoReaderTest, BackwardTimesAreRepairedAndCounted) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v flv " + (folder / "a.flv"));
  const std::string bytes = testing::ReadFile(folder / "a.flv");
  const size_t header = 9 + 4;
  // The second copy without its header.
  const Clip clip = ReadClip(bytes + bytes.substr(header));

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(50));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(clip.frames[i].pts, i * 40) << i;
  EXPECT_GT(clip.report.num_repaired_timestamps, 0);
}

TEST(VideoReaderTest, AnimatedGifIsAVideo) {
  TemporaryFolder folder;
  // Three pictures of 0.1, 0.5 and 0.2 seconds, as GIF counts: hundredths.
  testing::Ffmpeg(folder,
                  "-f lavfi -i testsrc=size=64x48:rate=10:duration=0.8 -vf "
                  "select='eq(n\\,0)+eq(n\\,1)+eq(n\\,6)' -vsync vfr " +
                      (folder / "a.gif"));

  const Clip clip = ReadClip(testing::ReadFile(folder / "a.gif"));

  ASSERT_THAT(clip.end, IsOk());
  EXPECT_THAT(testing::Pts(clip), ElementsAre(0, 10, 60));
  EXPECT_EQ(clip.info.time_base_den, 100 * clip.info.time_base_num);
  EXPECT_TRUE(testing::Rgb(clip) == testing::FfmpegRgb(folder, folder / "a.gif"));
}

// ---- Sound ----

TEST(VideoReaderTest, AudioPacketsAreThoseOfTheFile) {
  REENACT_REQUIRE_DATA();
  const std::string file = testing::DataDir() + "/LivePortrait/driving/d18.mp4";
  TemporaryFolder folder;
  auto reader = VideoReader::Open(testing::ReadFile(file));
  ASSERT_THAT(reader, IsOk());

  const auto track = (*reader)->ReadAudio();

  ASSERT_THAT(track, IsOk());
  EXPECT_EQ(track->codec, "aac");
  EXPECT_EQ(track->sample_rate, 44100);
  EXPECT_EQ(track->note, "");
  std::vector<int64_t> pts;
  std::vector<int64_t> sizes;
  for (const AudioPacket& packet : track->packets) {
    pts.push_back(packet.pts);
    sizes.push_back(static_cast<int64_t>(packet.data.size()));
  }
  EXPECT_THAT(pts, ElementsAreArray(testing::Probe(folder, file, "packet=pts", "a:0")));
  EXPECT_THAT(sizes, ElementsAreArray(testing::Probe(folder, file, "packet=size", "a:0")));
}

TEST(VideoReaderTest, SilentClipHasAnEmptyTrack) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v libx264 " + (folder / "a.mp4"));
  auto reader = VideoReader::Open(testing::ReadFile(folder / "a.mp4"));
  ASSERT_THAT(reader, IsOk());

  const auto track = (*reader)->ReadAudio();

  ASSERT_THAT(track, IsOk());
  EXPECT_TRUE(track->empty());
  EXPECT_EQ(track->note, "");
}

// Sound that has to be decoded, and of which a part does not: the rest is there, in its place.
TEST(VideoReaderTest, DamagedSoundIsLeftOutAndCounted) {
  TemporaryFolder folder;
  const std::string file = folder / "a.avi";
  testing::Ffmpeg(folder, std::string(kSource) + "-f lavfi -i sine=sample_rate=44100 -shortest " +
                              "-c:v mpeg4 -c:a wmav2 " + file);
  std::string bytes = testing::ReadFile(file);
  auto whole = VideoReader::Open(bytes);
  ASSERT_THAT(whole, IsOk());
  const std::vector<int64_t> places = testing::Probe(folder, file, "packet=pos", "a:0");
  ASSERT_GT(places.size(), 10u);
  std::fill_n(bytes.begin() + places[5], 200, '\xFF');

  auto reader = VideoReader::Open(bytes);
  ASSERT_THAT(reader, IsOk());
  const auto track = (*reader)->ReadAudio();

  ASSERT_THAT(track, IsOk());
  EXPECT_EQ(track->packets.size(), (*whole)->ReadAudio()->packets.size());
  EXPECT_THAT(track->note, HasSubstr("1 packet of the sound was damaged and left out"));
}

// Neither held by MP4 nor decoded: left out, and said.
TEST(VideoReaderTest, SoundThatCannotBeReadIsNamed) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-f lavfi -i sine -shortest -c:v libx264 -c:a " +
                              "tta " + (folder / "a.mkv"));
  auto reader = VideoReader::Open(testing::ReadFile(folder / "a.mkv"));
  ASSERT_THAT(reader, IsOk());

  const auto track = (*reader)->ReadAudio();

  ASSERT_THAT(track, IsOk());
  EXPECT_TRUE(track->empty());
  EXPECT_THAT(track->note, HasSubstr("audio codec tta does not fit MP4, left out"));
}

}  // namespace
}  // namespace reenact
