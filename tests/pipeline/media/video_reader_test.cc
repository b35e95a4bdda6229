#include "pipeline/media/video_reader.h"

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
  const std::string expected = testing::FfmpegRgb(folder, file);
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
    {"Ntsc", "a.mp4", "-r 30000/1001 -c:v libx264"},
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
    {"Interlaced", "a.mp4", "-c:v libx264 -flags +ilme+ildct -x264opts tff=1"},
    {"StartOffset", "a.mp4", "-c:v libx264 -output_ts_offset 0.72"},
    {"OneFrame", "a.mp4", "-frames:v 1 -c:v libx264"},
    {"ManyStreams", "a.mkv",
     "-f lavfi -i sine -f lavfi -i testsrc2=size=160x120:duration=1 -f lavfi -i "
     "testsrc=size=64x64:duration=1 -map 0:a -map 1:v -map 2:v -t 1 -c:v libx264 -c:a aac"},
};
INSTANTIATE_TEST_SUITE_P(All, FormatTest, ::testing::ValuesIn(kFormats),
                         [](const auto& param) { return std::string(param.param.name); });

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

TEST(VideoReaderTest, DamagedPacketsAreNamed) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-c:v png -pix_fmt rgb24 " + (folder / "a.mkv"));
  std::string bytes = testing::ReadFile(folder / "a.mkv");
  // The eleventh picture's signature.
  size_t at = 0;
  for (int i = 0; i < 11; ++i) at = bytes.find("\x89PNG", at + 1);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 4, "oops");

  const Clip clip = ReadClip(bytes);

  EXPECT_THAT(clip.end, FailsWith(kInvalid, "frame 10 does not decode"));
  EXPECT_THAT(clip.frames, SizeIs(10));
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
  const auto pieces =
      testing::WriteClip({.width = 64, .height = 64, .time_base_den = 25}, {0, 1}, 1);
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
  EXPECT_FALSE(ReadClip(testing::ReadFile(folder / "many.mkv"), {.max_streams = 3}).end.ok());
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

TEST(VideoReaderTest, SoundThatMp4CannotHoldIsNamed) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string(kSource) + "-f lavfi -i sine -shortest -c:v libx264 -c:a " +
                              "pcm_s16le " + (folder / "a.mkv"));
  auto reader = VideoReader::Open(testing::ReadFile(folder / "a.mkv"));
  ASSERT_THAT(reader, IsOk());

  const auto track = (*reader)->ReadAudio();

  ASSERT_THAT(track, IsOk());
  EXPECT_TRUE(track->empty());
  EXPECT_THAT(track->note, HasSubstr("pcm_s16le does not fit MP4"));
}

}  // namespace
}  // namespace reenact
