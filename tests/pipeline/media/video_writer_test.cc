#include "pipeline/media/video_writer.h"

#include <unistd.h>

#include <cstdlib>
#include <limits>
#include <sstream>

#include "tests/pipeline/media/media_testing.h"

namespace reenact {
namespace {

using testing::Clip;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using testing::FailsWith;
using testing::Gradient;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::Join;
using ::testing::Not;
using testing::ReadClip;
using ::testing::SizeIs;
using testing::TemporaryFolder;
using testing::WriteClip;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

VideoWriter::Options SmallOptions() {
  VideoWriter::Options options;
  options.width = 96;
  options.height = 64;
  options.time_base_num = 1;
  options.time_base_den = 15360;
  options.frames_per_fragment = 4;
  return options;
}

std::vector<int64_t> Steps(int count, int64_t step, int64_t start = 0) {
  std::vector<int64_t> pts;
  for (int i = 0; i < count; ++i) pts.push_back(start + i * step);
  return pts;
}

// ---- Pieces ----

TEST(VideoWriterTest, PiecesAreAnInitSegmentThenFragments) {
  const auto pieces = WriteClip(SmallOptions(), Steps(10, 512), 512);

  ASSERT_THAT(pieces, SizeIs(4));
  EXPECT_TRUE(pieces[0].init);
  EXPECT_EQ(pieces[0].num_frames, 0);
  EXPECT_EQ(pieces[0].data.substr(4, 4), "ftyp");
  EXPECT_THAT(pieces[0].data, HasSubstr("moov"));
  EXPECT_THAT(pieces[0].data, Not(HasSubstr("mdat")));
  const int num_frames[] = {0, 4, 4, 2};
  const int64_t first[] = {0, 0, 4, 8};
  for (int i = 1; i < 4; ++i) {
    EXPECT_FALSE(pieces[i].init);
    EXPECT_EQ(pieces[i].num_frames, num_frames[i]);
    EXPECT_EQ(pieces[i].first_frame, first[i]);
    EXPECT_EQ(pieces[i].pts, first[i] * 512);
    EXPECT_EQ(pieces[i].data.substr(4, 4), "moof");
  }
}

TEST(VideoWriterTest, PiecesComeWithTheFrameThatCompletesThem) {
  auto writer = VideoWriter::Create(SmallOptions());
  ASSERT_THAT(writer, IsOk());

  std::vector<size_t> counts;
  for (int i = 0; i < 9; ++i) {
    auto pieces = (*writer)->Write(Gradient(96, 64, i), i * 512, 512);
    ASSERT_THAT(pieces, IsOk());
    counts.push_back(pieces->size());
  }

  // The init segment with the first frame, a fragment with every fourth.
  EXPECT_THAT(counts, ElementsAre(1, 0, 0, 1, 0, 0, 0, 1, 0));
}

TEST(VideoWriterTest, FirstFragmentMayBeShorter) {
  VideoWriter::Options options = SmallOptions();
  options.first_fragment_frames = 1;

  const auto pieces = WriteClip(options, Steps(10, 512), 512);

  std::vector<int> counts;
  std::vector<int64_t> first;
  for (const auto& piece : pieces) {
    counts.push_back(piece.num_frames);
    first.push_back(piece.first_frame);
  }
  EXPECT_THAT(counts, ElementsAre(0, 1, 4, 4, 1));
  EXPECT_THAT(first, ElementsAre(0, 0, 1, 5, 9));
  const Clip clip = ReadClip(Join(pieces));
  EXPECT_THAT(clip.end, IsOk());
  EXPECT_THAT(testing::Pts(clip), ElementsAreArray(Steps(10, 512)));
  const Clip second = ReadClip(pieces[0].data + pieces[2].data);
  EXPECT_THAT(testing::Pts(second), ElementsAre(512, 1024, 1536, 2048));
}

TEST(VideoWriterTest, BeginningOfTheFilePlaysByItself) {
  const auto pieces = WriteClip(SmallOptions(), Steps(12, 512), 512);
  ASSERT_THAT(pieces, SizeIs(4));

  const Clip first = ReadClip(pieces[0].data + pieces[1].data);
  const Clip last = ReadClip(pieces[0].data + pieces[3].data);  // begins with a key frame

  EXPECT_THAT(first.end, IsOk());
  EXPECT_THAT(testing::Pts(first), ElementsAre(0, 512, 1024, 1536));
  EXPECT_THAT(last.end, IsOk());
  EXPECT_THAT(testing::Pts(last), ElementsAre(4096, 4608, 5120, 5632));
}

TEST(VideoWriterTest, SameInputGivesSameBytes) {
  const std::string first = Join(WriteClip(SmallOptions(), Steps(10, 512), 512));
  const std::string second = Join(WriteClip(SmallOptions(), Steps(10, 512), 512));

  EXPECT_FALSE(first.empty());
  EXPECT_TRUE(first == second);
}

// ---- Times ----

uint32_t Number(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// The sum of all durations in the fragments of a file with one track: FFmpeg does not tell the last
// frame's of a fragmented file. Walks moof > traf > tfhd, trun as ISO 14496-12 lays them out.
uint64_t VideoTicks(const std::string& bytes, size_t at = 0, size_t end = std::string::npos) {
  static uint32_t default_duration;
  uint64_t ticks = 0;
  end = std::min(end, bytes.size());
  while (at + 8 <= end) {
    const size_t size = Number(bytes, at);
    const std::string name = bytes.substr(at + 4, 4);
    const uint32_t flags = Number(bytes, at + 8) & 0xFFFFFF;
    if (name == "moof" || name == "traf") ticks += VideoTicks(bytes, at + 8, at + size);
    if (name == "tfhd") {
      size_t field = at + 16;
      if (flags & 0x1) field += 8;
      if (flags & 0x2) field += 4;
      default_duration = flags & 0x8 ? Number(bytes, field) : 0;
    }
    if (name == "trun") {
      const uint32_t count = Number(bytes, at + 12);
      size_t field = at + 16 + (flags & 0x1 ? 4 : 0) + (flags & 0x4 ? 4 : 0);
      for (uint32_t i = 0; i < count; ++i) {
        ticks += flags & 0x100 ? Number(bytes, field) : default_duration;
        for (uint32_t bit : {0x100, 0x200, 0x400, 0x800}) field += flags & bit ? 4 : 0;
      }
    }
    at += std::max<size_t>(size, 8);
  }
  return ticks;
}

struct Times {
  const char* name;
  int32_t num, den;
  std::vector<int64_t> pts;
  int64_t last_duration;
};

class TimesTest : public ::testing::TestWithParam<Times> {};

TEST_P(TimesTest, SurviveExactly) {
  const Times& times = GetParam();
  VideoWriter::Options options = SmallOptions();
  options.time_base_num = times.num;
  options.time_base_den = times.den;
  TemporaryFolder folder;

  const std::string bytes = Join(WriteClip(options, times.pts, times.last_duration));
  testing::WriteFile(folder / "a.mp4", bytes);

  const Clip clip = ReadClip(bytes);
  ASSERT_THAT(clip.end, IsOk());
  ASSERT_EQ(clip.info.time_base_num, 1);
  ASSERT_EQ(clip.info.time_base_den, times.den);
  std::vector<int64_t> expected;
  for (int64_t pts : times.pts) expected.push_back(pts * times.num);
  EXPECT_THAT(testing::Pts(clip), ElementsAreArray(expected));
  EXPECT_EQ(VideoTicks(bytes),
            static_cast<uint64_t>((times.pts.back() - times.pts.front() + times.last_duration) *
                                  times.num));
  EXPECT_THAT(testing::Probe(folder, folder / "a.mp4", "frame=pts"), ElementsAreArray(expected));
}

INSTANTIATE_TEST_SUITE_P(
    All, TimesTest,
    ::testing::Values(Times{"Constant", 1, 15360, Steps(10, 512), 512},
                      Times{"Ntsc", 1, 30000, Steps(10, 1001), 1001},
                      Times{"NtscFrameClock", 1001, 30000, Steps(10, 1), 1},
                      Times{"SlowClock", 1, 5, Steps(6, 1), 1},
                      Times{"Milliseconds", 1, 1000, {0, 33, 67, 100, 133, 167}, 33},
                      Times{"Variable", 1, 90000, {0, 3003, 12012, 12013, 90000, 900000}, 1},
                      Times{"StartOffset", 1, 12800, Steps(6, 512, 9216), 512},
                      Times{"LateStart", 1, 90000, Steps(6, 3000, 90000LL * 3600 * 5), 3000},
                      Times{"Microseconds", 1, 1000000, Steps(6, 33367), 33366},
                      Times{"One", 1, 25, {0}, 3}),
    [](const auto& param) { return std::string(param.param.name); });

// MP4 would hide frames before zero.
TEST(VideoWriterTest, NegativeStartMovesEverythingToZero) {
  const Clip clip = ReadClip(Join(WriteClip(SmallOptions(), Steps(5, 512, -1024), 512)));

  ASSERT_THAT(clip.end, IsOk());
  EXPECT_THAT(testing::Pts(clip), ElementsAre(0, 512, 1024, 1536, 2048));
}

// ---- Pictures ----

TEST(VideoWriterTest, ColoursComeBack) {
  VideoWriter::Options options = SmallOptions();
  options.crf = 4;
  const Clip clip = ReadClip(Join(WriteClip(options, Steps(3, 512), 512)));

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(3));
  for (int i = 0; i < 3; ++i) {
    const auto [worst, mean] = testing::Difference(testing::AsString(clip.frames[i].image),
                                                   testing::AsString(Gradient(96, 64, i)));
    EXPECT_LE(worst, 10);
    EXPECT_LT(mean, 2.0);
  }
}

// A wrong matrix or range would show most on pure colours; a picture of one colour has no chroma
// edges.
TEST(VideoWriterTest, PureColoursComeBackWithinThreeLevels) {
  const uint8_t colours[][3] = {{255, 0, 0}, {0, 255, 0},     {0, 0, 255},  {255, 255, 255},
                                {0, 0, 0},   {128, 128, 128}, {200, 60, 90}};
  VideoWriter::Options options = SmallOptions();
  options.crf = 4;
  auto writer = VideoWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  std::string file;
  int64_t pts = 0;
  for (const auto& colour : colours) {
    Image image{96, 64, std::vector<uint8_t>(96 * 64 * 3)};
    for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = colour[i % 3];
    auto pieces = (*writer)->Write(image, pts++, 1);
    ASSERT_THAT(pieces, IsOk());
    file += Join(*pieces);
  }
  file += Join((*writer)->Finish().value());

  const Clip clip = ReadClip(file);

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(std::size(colours)));
  for (size_t i = 0; i < std::size(colours); ++i) {
    const uint8_t* pixel = clip.frames[i].image.row(32) + 48 * 3;
    for (int c = 0; c < 3; ++c) EXPECT_NEAR(pixel[c], colours[i][c], 3) << "colour " << i;
  }
}

TEST(VideoWriterTest, StreamDeclaresWhatPlayersNeed) {
  TemporaryFolder folder;
  VideoWriter::Options options = SmallOptions();
  options.width = options.height = 512;
  testing::WriteFile(folder / "a.mp4", Join(WriteClip(options, Steps(10, 512), 512)));

  const std::string stream =
      testing::Run(folder,
                   "ffprobe -v error -show_entries stream=codec_name,profile,level,pix_fmt,"
                   "color_space,color_range,color_primaries,color_transfer,has_b_frames,"
                   "r_frame_rate " +
                       (folder / "a.mp4"));

  for (const char* entry :
       {"codec_name=h264", "profile=High", "pix_fmt=yuv420p", "color_space=bt709", "color_range=tv",
        "color_primaries=bt709", "color_transfer=bt709", "has_b_frames=0", "r_frame_rate=30/1",
        "level=30"}) {
    EXPECT_THAT(stream, HasSubstr(entry));
  }
  // Key frames exactly at the fragments' starts.
  EXPECT_THAT(testing::Probe(folder, folder / "a.mp4", "frame=key_frame"),
              ElementsAre(1, 0, 0, 0, 1, 0, 0, 0, 1, 0));
  // The tool decodes it without a word.
  testing::Ffmpeg(folder, "-xerror -err_detect explode -i " + (folder / "a.mp4") + " -f null -");
  EXPECT_EQ(testing::ReadFile(folder / "stderr"), "");
}

TEST(VideoWriterTest, OddSidesArePaddedByTheEdge) {
  VideoWriter::Options options = SmallOptions();
  options.width = 95;
  options.height = 63;
  options.crf = 4;
  auto writer = VideoWriter::Create(options);
  ASSERT_THAT(writer, IsOk());

  EXPECT_EQ((*writer)->coded_width(), 96);
  EXPECT_EQ((*writer)->coded_height(), 64);
  const Clip clip = ReadClip(Join(WriteClip(options, Steps(2, 512), 512)));
  ASSERT_THAT(clip.end, IsOk());
  EXPECT_EQ(clip.info.width, 96);
  EXPECT_EQ(clip.info.height, 64);
  const Image& decoded = clip.frames[0].image;
  const Image drawn = Gradient(95, 63, 0);
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(decoded.row(63)[95 * 3 + c], drawn.row(62)[94 * 3 + c], 8);
    EXPECT_NEAR(decoded.row(30)[40 * 3 + c], drawn.row(30)[40 * 3 + c], 8);
  }
}

// ---- Sound ----

struct Sound {
  const char* name;
  const char* file;
  const char* encoding;
};

class SoundTest : public ::testing::TestWithParam<Sound> {};

// Every packet of the sound, and its times, are those of the driving file.
TEST_P(SoundTest, PacketsAreCopiedBitByBit) {
  TemporaryFolder folder;
  const std::string source = folder / GetParam().file;
  testing::Ffmpeg(folder, std::string("-f lavfi -i testsrc2=size=96x64:rate=25:duration=1 -f lavfi "
                                      "-i sine=frequency=440:duration=1.3:sample_rate=48000 "
                                      "-c:v libx264 ") +
                              GetParam().encoding + " " + source);
  auto reader = VideoReader::Open(testing::ReadFile(source));
  ASSERT_THAT(reader, IsOk());
  auto track = (*reader)->ReadAudio();
  ASSERT_THAT(track, IsOk());
  ASSERT_FALSE(track->empty()) << track->note;

  VideoWriter::Options options = SmallOptions();
  options.time_base_den = (*reader)->info().time_base_den;
  options.audio = *track;
  auto writer = VideoWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  const std::vector<VideoWriter::Piece> pieces = testing::Rewrite(**reader, **writer);
  const std::string out = folder / "out.mp4";
  testing::WriteFile(out, Join(pieces));

  const auto md5 = [&](const std::string& file) {
    return testing::Ffmpeg(folder, "-i " + file + " -map 0:a:0 -c copy -f md5 -");
  };
  EXPECT_EQ(md5(out), md5(source));
  EXPECT_THAT(testing::Probe(folder, out, "frame=pts"), SizeIs(25));
  const auto out_again = VideoReader::Open(testing::ReadFile(out));
  ASSERT_THAT(out_again, IsOk());
  const auto copied = (*out_again)->ReadAudio();
  ASSERT_THAT(copied, IsOk());
  ASSERT_THAT(copied->packets, SizeIs(track->packets.size()));
  for (size_t i = 0; i < track->packets.size(); ++i) {
    const AudioPacket& a = track->packets[i];
    const AudioPacket& b = copied->packets[i];
    ASSERT_EQ(a.data, b.data) << i;
    // In seconds: Matroska and FLV count milliseconds, so half of one is rounding.
    const double in = static_cast<double>(a.pts) * track->time_base_num / track->time_base_den;
    const double to = static_cast<double>(b.pts) * copied->time_base_num / copied->time_base_den;
    ASSERT_NEAR(in, to, track->time_base_den == 1000 ? 6e-4 : 1e-9) << i;
  }
  // Not all in the last fragment: each holds the sound of its time.
  ASSERT_GE(pieces.size(), 4u);
  EXPECT_GT(pieces[1].data.size(), track->packets[0].data.size());
  const auto beginning = VideoReader::Open(pieces[0].data + pieces[1].data + pieces[2].data);
  ASSERT_THAT(beginning, IsOk());
  const auto sound = (*beginning)->ReadAudio();
  ASSERT_THAT(sound, IsOk());
  const double seconds =
      static_cast<double>(sound->packets.back().pts) * sound->time_base_num / sound->time_base_den;
  EXPECT_NEAR(seconds, 8 / 25.0, 0.12);  // two fragments of four frames, to within a packet
}

INSTANTIATE_TEST_SUITE_P(
    All, SoundTest,
    ::testing::Values(Sound{"Aac", "a.mp4", "-c:a aac"}, Sound{"Mp3", "a.mp4", "-c:a libmp3lame"},
                      Sound{"Mp3InAvi", "a.avi", "-c:a libmp3lame -bf 0"},
                      Sound{"Ac3", "a.mp4", "-c:a ac3"}, Sound{"Eac3", "a.mp4", "-c:a eac3"},
                      Sound{"Alac", "a.mov", "-c:a alac"}, Sound{"Flac", "a.mkv", "-c:a flac"},
                      Sound{"Opus", "a.mkv", "-c:a libopus"},
                      Sound{"AacInFlv", "a.flv", "-c:a aac"}),
    [](const auto& param) { return std::string(param.param.name); });

// AAC in MPEG-TS carries a header per packet that MP4 has no place for; what remains must be
// decodable.
TEST(VideoWriterTest, AacFromTransportStreamPlays) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  "-f lavfi -i testsrc2=size=96x64:rate=25:duration=1 -f lavfi -i "
                  "sine=duration=1 -c:v libx264 -bf 0 -c:a aac " +
                      (folder / "a.ts"));
  auto reader = VideoReader::Open(testing::ReadFile(folder / "a.ts"));
  ASSERT_THAT(reader, IsOk());
  VideoWriter::Options options = SmallOptions();
  options.time_base_den = 90000;
  options.audio = (*reader)->ReadAudio().value();
  ASSERT_FALSE(options.audio->empty()) << options.audio->note;

  testing::WriteFile(folder / "b.mp4", Join(WriteClip(options, Steps(25, 3600), 3600)));

  const auto pcm = [&](const std::string& file) {
    return testing::Ffmpeg(folder, "-i " + file + " -map 0:a:0 -f s16le -");
  };
  EXPECT_TRUE(pcm(folder / "b.mp4") == pcm(folder / "a.ts"));
}

TEST(VideoWriterTest, RealClipKeepsFramesTimesAndSound) {
  REENACT_REQUIRE_DATA();
  TemporaryFolder folder;
  const std::string source = testing::DataDir() + "/LivePortrait/driving/d18.mp4";
  auto reader = VideoReader::Open(testing::ReadFile(source));
  ASSERT_THAT(reader, IsOk());
  VideoWriter::Options options = SmallOptions();
  options.time_base_den = (*reader)->info().time_base_den;
  options.audio = (*reader)->ReadAudio().value();

  const std::vector<int64_t> pts = testing::Probe(folder, source, "frame=pts");
  testing::WriteFile(folder / "a.mp4", Join(WriteClip(options, pts, 512)));

  EXPECT_THAT(pts, SizeIs(216));
  EXPECT_THAT(testing::Probe(folder, folder / "a.mp4", "frame=pts"), ElementsAreArray(pts));
  EXPECT_EQ(testing::Ffmpeg(folder, "-i " + source + " -map 0:a:0 -c copy -f md5 -"),
            testing::Ffmpeg(folder, "-i " + (folder / "a.mp4") + " -map 0:a:0 -c copy -f md5 -"));
  EXPECT_THAT(testing::Probe(folder, folder / "a.mp4", "packet=pts", "a:0"),
              ElementsAreArray(testing::Probe(folder, source, "packet=pts", "a:0")));
  // Decoded sound too: the priming samples are skipped as in the source. (Its edit list also cuts
  // the last packet short.)
  const std::string heard = testing::Ffmpeg(folder, "-i " + source + " -map 0:a:0 -f s16le -");
  const std::string copied =
      testing::Ffmpeg(folder, "-i " + (folder / "a.mp4") + " -map 0:a:0 -f s16le -");
  EXPECT_FALSE(heard.empty());
  EXPECT_TRUE(copied.starts_with(heard)) << heard.size() << " and " << copied.size() << " bytes";
  EXPECT_LE(copied.size(), heard.size() + 1024 * 2 * 2);
}

TEST(VideoWriterTest, SoundMovesWithThePicture) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  "-f lavfi -i testsrc2=size=96x64:rate=25:duration=1 -f lavfi -i sine=duration=1 "
                  "-c:v libx264 -c:a aac " +
                      (folder / "a.mp4"));
  auto reader = VideoReader::Open(testing::ReadFile(folder / "a.mp4"));
  ASSERT_THAT(reader, IsOk());
  VideoWriter::Options options = SmallOptions();
  options.time_base_den = 44100;
  options.audio = (*reader)->ReadAudio().value();
  ASSERT_EQ(options.audio->packets[0].pts, -1024);

  // A picture that begins a second before zero: the sound, too, begins one second later.
  auto out = VideoReader::Open(Join(WriteClip(options, Steps(50, 1764, -44100), 1764)));

  ASSERT_THAT(out, IsOk());
  EXPECT_EQ((*out)->ReadAudio()->packets[0].pts, 44100 - 1024);
}

// ---- Sound that MP4 cannot hold ----

// 50 ms of a 1 kHz tone at the beginning of every second.
std::string Bursts(int seconds, int rate) {
  return "-f lavfi -i 'aevalsrc=0.5*sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.05):d=" +
         std::to_string(seconds) + ":s=" + std::to_string(rate) + "' ";
}

// When the first tone at or after `from` seconds begins in the sound of `file`, by the time stamps
// of its samples; -1: there is none. The sound must have no holes.
double BurstAfter(const TemporaryFolder& folder, const std::string& file, double from) {
  constexpr int kRate = 48000;
  std::istringstream times(
      testing::Run(folder,
                   "ffprobe -v error -select_streams a:0 -read_intervals %+#8 -show_entries "
                   "frame=pts_time -of default=nokey=1:noprint_wrappers=1 " +
                       file));
  double start = 0;
  times >> start;
  const std::string pcm =
      testing::Ffmpeg(folder, "-i " + file + " -map 0:a:0 -ar 48000 -ac 1 -f s16le -");
  const double first = std::max(0.0, from - start) * kRate;
  for (size_t i = static_cast<size_t>(first); 2 * i + 1 < pcm.size(); ++i) {
    const int value = static_cast<int16_t>(static_cast<uint8_t>(pcm[2 * i]) |
                                           static_cast<uint8_t>(pcm[2 * i + 1]) << 8);
    if (std::abs(value) > 4000) return start + static_cast<double>(i) / kRate;
  }
  return -1;
}

class TranscodedSoundTest : public ::testing::TestWithParam<Sound> {};

TEST_P(TranscodedSoundTest, IsAacAndInItsPlace) {
  TemporaryFolder folder;
  const std::string source = folder / GetParam().file;
  testing::Ffmpeg(folder, std::string("-f lavfi -i testsrc2=size=96x64:rate=25:duration=4 ") +
                              Bursts(4, 44100) + "-c:v mpeg4 " + GetParam().encoding + " " +
                              source);
  auto reader = VideoReader::Open(testing::ReadFile(source));
  ASSERT_THAT(reader, IsOk());
  const auto track = (*reader)->ReadAudio();
  ASSERT_THAT(track, IsOk());
  EXPECT_EQ(track->codec, "aac");
  EXPECT_EQ(track->transcoded_from, (*reader)->info().audio_codec);
  EXPECT_THAT(track->note, HasSubstr(track->transcoded_from + " does not fit MP4, transcoded"));
  ASSERT_FALSE(track->empty());
  VideoWriter::Options options = SmallOptions();
  options.time_base_num = (*reader)->info().time_base_num;
  options.time_base_den = (*reader)->info().time_base_den;
  options.audio = *track;
  auto writer = VideoWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  const std::string out = folder / "out.mp4";

  testing::WriteFile(out, Join(testing::Rewrite(**reader, **writer)));

  for (const double second : {1.0, 2.0, 3.0}) {
    EXPECT_NEAR(BurstAfter(folder, out, second - 0.2), BurstAfter(folder, source, second - 0.2),
                0.004);
  }
  EXPECT_EQ(testing::Run(folder,
                         "ffprobe -v error -select_streams a -show_entries "
                         "stream=codec_name,profile -of csv=p=0 " +
                             out),
            "aac,LC\n");
  // The same sound again gives the same bytes.
  const auto again = (*reader)->ReadAudio();
  ASSERT_THAT(again, IsOk());
  ASSERT_EQ(again->packets.size(), track->packets.size());
  for (size_t i = 0; i < again->packets.size(); ++i) {
    ASSERT_EQ(again->packets[i].data, track->packets[i].data) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TranscodedSoundTest,
                         ::testing::Values(Sound{"PcmInMatroska", "a.mkv", "-c:a pcm_s16le"},
                                           Sound{"PcmInAvi", "a.avi", "-c:a pcm_s16le -ac 2"},
                                           Sound{"PcmInMov", "a.mov", "-c:a pcm_s24le -ar 48000"},
                                           Sound{"RateThatAacHasNot", "a.mkv",
                                                 "-c:a pcm_s16le -ar 37800"},
                                           Sound{"SixChannels", "a.mkv", "-c:a pcm_s16le -ac 6"},
                                           Sound{"Alaw", "a.mkv", "-c:a pcm_alaw -ar 8000"},
                                           Sound{"Wma", "a.avi", "-c:a wmav2 -ar 44100"},
                                           Sound{"Adpcm", "a.avi", "-c:a adpcm_ms -ar 22050"}),
                         [](const auto& param) { return std::string(param.param.name); });

// Found by fuzzing: FLAC without its header decodes, but MP4 has nothing to say of it.
TEST(VideoWriterTest, FlacWithoutItsHeaderIsTranscoded) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  "-f lavfi -i testsrc2=size=32x32:duration=0.5 -f lavfi -i sine=duration=0.5 "
                  "-c:v mpeg4 -c:a flac " +
                      (folder / "a.mkv"));
  std::string bytes = testing::ReadFile(folder / "a.mkv");
  const size_t header = bytes.find("fLaC");
  ASSERT_NE(header, std::string::npos);
  const size_t element = bytes.rfind("\x63\xA2", header);  // CodecPrivate
  ASSERT_NE(element, std::string::npos);
  bytes.replace(element, 2, "\x53\x78");  // an element that is ignored there
  auto reader = VideoReader::Open(bytes);
  ASSERT_THAT(reader, IsOk());

  const auto track = (*reader)->ReadAudio();

  ASSERT_THAT(track, IsOk());
  EXPECT_EQ(track->codec, "aac");
  EXPECT_EQ(track->transcoded_from, "flac");
}

// Found by fuzzing: a mapping family that wants a table of the channels, and no table.
TEST(VideoWriterTest, OpusWithoutItsTableOfChannelsIsRefused) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  "-f lavfi -i testsrc2=size=32x32:duration=0.5 -f lavfi -i sine=duration=0.5 "
                  "-c:v mpeg4 -c:a libopus " +
                      (folder / "a.mkv"));
  auto reader = VideoReader::Open(testing::ReadFile(folder / "a.mkv"));
  ASSERT_THAT(reader, IsOk());
  auto track = (*reader)->ReadAudio();
  ASSERT_THAT(track, IsOk());
  AudioDescription sound = DescribeAudio(*track);
  EXPECT_THAT(RestoreAudio(sound, &*track), IsOk());
  ASSERT_EQ(sound.extradata.size(), 19u);
  sound.extradata[18] = 5;
  EXPECT_EQ(RestoreAudio(sound, &*track).code(), absl::StatusCode::kInvalidArgument);
}

// A hole in the sound becomes silence: what follows stays with its picture.
TEST(VideoWriterTest, HolesInTranscodedSoundBecomeSilence) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder, std::string("-f lavfi -i testsrc2=size=96x64:rate=25:duration=5 ") +
                              Bursts(5, 48000) +
                              "-af aselect='not(between(t\\,1.5\\,2.7))' -c:v mpeg4 "
                              "-c:a pcm_s16le " +
                              (folder / "a.mkv"));
  auto reader = VideoReader::Open(testing::ReadFile(folder / "a.mkv"));
  ASSERT_THAT(reader, IsOk());
  VideoWriter::Options options = SmallOptions();
  options.time_base_den = 1000;
  options.audio = (*reader)->ReadAudio().value();
  auto writer = VideoWriter::Create(options);
  ASSERT_THAT(writer, IsOk());

  testing::WriteFile(folder / "b.mp4", Join(testing::Rewrite(**reader, **writer)));

  EXPECT_NEAR(BurstAfter(folder, folder / "b.mp4", 0.8), 1, 0.004);
  EXPECT_NEAR(BurstAfter(folder, folder / "b.mp4", 1.3), 3, 0.004);
  EXPECT_NEAR(BurstAfter(folder, folder / "b.mp4", 3.5), 4, 0.004);
}

// Ten minutes at 29.97 frames a second: at the end, sound and picture are where they were.
TEST(VideoWriterTest, SoundAndPictureAreTogetherAfterTenMinutes) {
  for (const char* codec : {"pcm_s16le", "aac"}) {
    SCOPED_TRACE(codec);
    TemporaryFolder folder;
    const std::string source = folder / "a.mkv";
    testing::Ffmpeg(folder,
                    std::string("-f lavfi -i color=size=16x16:rate=30000/1001:duration=600 ") +
                        Bursts(600, 16000) + "-c:v mpeg4 -c:a " + codec + " " + source);
    auto reader = VideoReader::Open(testing::ReadFile(source));
    ASSERT_THAT(reader, IsOk());
    VideoWriter::Options options;
    options.width = options.height = 16;
    options.speed = EncodingSpeed::kFastest;
    options.time_base_den = 1000;
    options.frames_per_fragment = 300;
    options.audio = (*reader)->ReadAudio().value();
    ASSERT_FALSE(options.audio->empty());
    auto writer = VideoWriter::Create(options);
    ASSERT_THAT(writer, IsOk());
    const std::string out = folder / "out.mp4";

    testing::WriteFile(out, Join(testing::Rewrite(**reader, **writer)));

    const std::vector<int64_t> pts = testing::Probe(folder, out, "packet=pts");
    EXPECT_THAT(pts, ElementsAreArray(testing::Probe(folder, source, "packet=pts")));
    EXPECT_EQ(pts.size(), 17983u);
    const double last = BurstAfter(folder, source, 598.5);
    EXPECT_NEAR(last, 599, 0.1);
    // An AAC frame at 48 kHz is 0.021 seconds.
    EXPECT_NEAR(BurstAfter(folder, out, 598.5), last, 0.004);
  }
}

// ---- Memory ----

// The address sanitizer keeps what was freed.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeepsFreed = true;
#elif defined(__has_feature)
constexpr bool kKeepsFreed = __has_feature(address_sanitizer);
#else
constexpr bool kKeepsFreed = false;
#endif

// Of this process, in bytes.
int64_t ResidentBytes() {
  std::istringstream numbers(testing::ReadFile("/proc/self/statm"));
  int64_t size = 0;
  int64_t resident = 0;
  numbers >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// A frame in, a frame out, for ten minutes: nothing piles up.
TEST(VideoWriterTest, TenMinutesTakeNoMoreMemoryThanOne) {
  if (kKeepsFreed) GTEST_SKIP() << "memory cannot be measured under the address sanitizer";
  TemporaryFolder folder;
  testing::Ffmpeg(folder, "-f lavfi -i testsrc=size=96x64:rate=25:duration=600 -c:v mpeg4 -g 50 " +
                              (folder / "a.mp4"));
  auto reader = VideoReader::Open(testing::ReadFile(folder / "a.mp4"));
  ASSERT_THAT(reader, IsOk());
  VideoWriter::Options options = SmallOptions();
  options.time_base_den = (*reader)->info().time_base_den;
  options.frames_per_fragment = 16;
  options.speed = EncodingSpeed::kFastest;
  auto writer = VideoWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  constexpr int kMinute = 60 * 25;
  int64_t after_a_minute = 0;
  for (int i = 0; i < 10 * kMinute; ++i) {
    auto frame = (*reader)->Next();
    ASSERT_THAT(frame, IsOk());
    ASSERT_TRUE(frame->has_value()) << i;
    ASSERT_THAT((*writer)->Write((*frame)->image, (*frame)->pts, (*frame)->duration), IsOk());
    if (i == kMinute) after_a_minute = ResidentBytes();
  }
  ASSERT_THAT((*writer)->Finish(), IsOk());

  EXPECT_LT(ResidentBytes() - after_a_minute, 4 << 20);
}

// ---- Codecs ----

struct Codec {
  const char* name;
  VideoCodec codec;
  const char* probed;  // codec name and pixel format
  int worst;           // difference of a colour, of 255
};

class CodecTest : public ::testing::TestWithParam<Codec> {
 protected:
  static VideoWriter::Options CodecOptions() {
    VideoWriter::Options options = SmallOptions();
    options.codec = GetParam().codec;
    return options;
  }
};

TEST_P(CodecTest, FragmentsComeAtOnceAndPlayByThemselves) {
  auto writer = VideoWriter::Create(CodecOptions());
  ASSERT_THAT(writer, IsOk());
  std::vector<size_t> counts;
  std::vector<VideoWriter::Piece> pieces;
  for (int i = 0; i < 9; ++i) {
    auto written = (*writer)->Write(Gradient(96, 64, i), i * 512, 512);
    ASSERT_THAT(written, IsOk());
    counts.push_back(written->size());
    for (auto& piece : *written) pieces.push_back(std::move(piece));
  }
  EXPECT_THAT(counts, ElementsAre(1, 0, 0, 1, 0, 0, 0, 1, 0));
  ASSERT_THAT(pieces, SizeIs(3));

  const Clip second = ReadClip(pieces[0].data + pieces[2].data);  // begins with a key frame

  EXPECT_THAT(second.end, IsOk());
  EXPECT_THAT(testing::Pts(second), ElementsAre(2048, 2560, 3072, 3584));
}

TEST_P(CodecTest, SameInputGivesSameBytes) {
  const auto write = [] { return Join(WriteClip(CodecOptions(), Steps(10, 512), 512)); };

  const std::string first = write();

  EXPECT_FALSE(first.empty());
  EXPECT_TRUE(first == write());
}

TEST_P(CodecTest, TimesSurviveExactly) {
  for (const int64_t start : {0, 30030, 9009}) {
    VideoWriter::Options options = CodecOptions();
    options.time_base_den = 30000;
    std::vector<int64_t> pts = Steps(6, 1001, start);
    pts.push_back(pts.back() + 7000);  // a frame that lasts
    const Clip clip = ReadClip(Join(WriteClip(options, pts, 1001)));
    EXPECT_THAT(clip.end, IsOk());
    EXPECT_THAT(testing::Pts(clip), ElementsAreArray(pts));
  }
}

TEST_P(CodecTest, ColoursComeBack) {
  VideoWriter::Options options = CodecOptions();
  options.quality = EncodingQuality::kHigh;
  auto writer = VideoWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  const uint8_t colours[][3] = {{255, 0, 0},     {0, 255, 0},     {0, 0, 255}, {255, 255, 255},
                                {128, 128, 128}, {224, 172, 144}, {94, 60, 40}};
  std::string file;
  int64_t pts = 0;
  for (const auto& colour : colours) {
    Image image{96, 64, std::vector<uint8_t>(96 * 64 * 3)};
    for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = colour[i % 3];
    // Twice: a colour may take a frame to settle.
    for (int i = 0; i < 2; ++i) {
      auto pieces = (*writer)->Write(image, pts++, 1);
      ASSERT_THAT(pieces, IsOk());
      file += Join(*pieces);
    }
  }
  file += Join((*writer)->Finish().value());

  const Clip clip = ReadClip(file);

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(2 * std::size(colours)));
  int worst = 0;
  for (size_t i = 0; i < std::size(colours); ++i) {
    const uint8_t* pixel = clip.frames[2 * i + 1].image.row(32) + 48 * 3;
    for (int c = 0; c < 3; ++c) worst = std::max(worst, std::abs(pixel[c] - colours[i][c]));
  }
  EXPECT_LE(worst, GetParam().worst);
}

TEST_P(CodecTest, FileDeclaresItsCodecAndTheToolReadsIt) {
  TemporaryFolder folder;
  testing::WriteFile(folder / "a.mp4", Join(WriteClip(CodecOptions(), Steps(10, 512), 512)));

  EXPECT_EQ(testing::Run(folder,
                         "ffprobe -v error -show_entries stream=codec_name,pix_fmt "
                         "-of csv=p=0 " +
                             (folder / "a.mp4")),
            GetParam().probed + std::string("\n"));
  EXPECT_THAT(testing::Probe(folder, folder / "a.mp4", "packet=pts"),
              ElementsAreArray(Steps(10, 512)));
  testing::Ffmpeg(folder, "-xerror -err_detect explode -i " + (folder / "a.mp4") + " -f null -");
  EXPECT_EQ(testing::ReadFile(folder / "stderr"), "");
}

TEST_P(CodecTest, OddSidesWork) {
  VideoWriter::Options options = CodecOptions();
  options.width = 95;
  options.height = 63;

  const Clip clip = ReadClip(Join(WriteClip(options, Steps(2, 512), 512)));

  ASSERT_THAT(clip.end, IsOk());
  const int padding = GetParam().codec == VideoCodec::kLossless ? 0 : 1;
  EXPECT_EQ(clip.info.width, 95 + padding);
  EXPECT_EQ(clip.info.height, 63 + padding);
}

TEST_P(CodecTest, EverySpeedAndQualityWorks) {
  size_t sizes[3] = {};
  for (const auto quality :
       {EncodingQuality::kLow, EncodingQuality::kMedium, EncodingQuality::kHigh}) {
    for (const auto speed : {EncodingSpeed::kFastest, EncodingSpeed::kFast, EncodingSpeed::kMedium,
                             EncodingSpeed::kSlow}) {
      VideoWriter::Options options = CodecOptions();
      options.speed = speed;
      options.quality = quality;
      const std::string file = Join(WriteClip(options, Steps(5, 512), 512));
      EXPECT_THAT(ReadClip(file).frames, SizeIs(5));
      sizes[static_cast<int>(quality)] += file.size();
    }
  }
  if (GetParam().codec == VideoCodec::kLossless) return;
  EXPECT_LT(sizes[0], sizes[1]);
  EXPECT_LT(sizes[1], sizes[2]);
}

TEST_P(CodecTest, SoundGoesAlong) {
  TemporaryFolder folder;
  testing::Ffmpeg(folder,
                  "-f lavfi -i testsrc2=size=96x64:rate=25:duration=1 -f lavfi -i sine=duration=1 "
                  "-c:v libx264 -c:a aac " +
                      (folder / "a.mp4"));
  auto reader = VideoReader::Open(testing::ReadFile(folder / "a.mp4"));
  ASSERT_THAT(reader, IsOk());
  VideoWriter::Options options = CodecOptions();
  options.time_base_den = (*reader)->info().time_base_den;
  options.audio = (*reader)->ReadAudio().value();
  const size_t num_packets = options.audio->packets.size();
  auto writer = VideoWriter::Create(options);
  ASSERT_THAT(writer, IsOk());

  auto out = VideoReader::Open(Join(testing::Rewrite(**reader, **writer)));

  ASSERT_THAT(out, IsOk());
  EXPECT_THAT((*out)->ReadAudio()->packets, SizeIs(num_packets));
}

INSTANTIATE_TEST_SUITE_P(All, CodecTest,
                         ::testing::Values(Codec{"H264", VideoCodec::kH264, "h264,yuv420p", 3},
                                           Codec{"Vp9", VideoCodec::kVp9, "vp9,yuv420p", 3},
                                           Codec{"Av1", VideoCodec::kAv1, "av1,yuv420p", 3},
                                           Codec{"Mjpeg", VideoCodec::kMjpeg, "mjpeg,yuvj420p", 3},
                                           Codec{"Lossless", VideoCodec::kLossless, "h264,gbrp",
                                                 0}),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(VideoWriterTest, LosslessIsLossless) {
  VideoWriter::Options options = SmallOptions();
  options.codec = VideoCodec::kLossless;
  auto writer = VideoWriter::Create(options);
  ASSERT_THAT(writer, IsOk());
  uint32_t x = 1;
  std::vector<Image> images;
  std::string file;
  for (int i = 0; i < 6; ++i) {
    Image image = Gradient(96, 64, i);
    for (uint8_t& value : image.rgb) {
      x = x * 1664525 + 1013904223;
      value = static_cast<uint8_t>(value ^ (x >> 24 & 31));
    }
    auto pieces = (*writer)->Write(image, i, 1);
    ASSERT_THAT(pieces, IsOk());
    file += Join(*pieces);
    images.push_back(std::move(image));
  }
  file += Join((*writer)->Finish().value());

  const Clip clip = ReadClip(file);

  ASSERT_THAT(clip.end, IsOk());
  ASSERT_THAT(clip.frames, SizeIs(6));
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(clip.frames[i].image.rgb == images[i].rgb) << i;
}

TEST(VideoEncodingTest, RangesAreNamed) {
  EXPECT_THAT(CheckVideoEncoding({}), IsOk());
  for (int codec = 0; codec <= 4; ++codec) {
    for (int quality = 0; quality <= 2; ++quality) {
      VideoEncoding encoding;
      encoding.codec = static_cast<VideoCodec>(codec);
      encoding.quality = static_cast<EncodingQuality>(quality);
      EXPECT_THAT(CheckVideoEncoding(encoding), IsOk());
      EXPECT_GE(CrfOf(encoding), CrfRangeOf(encoding.codec).min);
      EXPECT_LE(CrfOf(encoding), CrfRangeOf(encoding.codec).max);
    }
  }
  VideoEncoding encoding;
  encoding.codec = static_cast<VideoCodec>(5);
  EXPECT_THAT(CheckVideoEncoding(encoding), FailsWith(kInvalid, "codec is 5; it must be 0 to 4"));
  encoding = {.quality = static_cast<EncodingQuality>(-1)};
  EXPECT_THAT(CheckVideoEncoding(encoding), FailsWith(kInvalid, "quality is -1"));
  encoding = {.codec = VideoCodec::kVp9, .crf = 64};
  EXPECT_THAT(CheckVideoEncoding(encoding), FailsWith(kInvalid, "64; for VP9 it must be 0 to 63"));
  encoding = {.codec = VideoCodec::kMjpeg, .crf = 1};
  EXPECT_THAT(CheckVideoEncoding(encoding), FailsWith(kInvalid, "1; for MJPEG it must be 2 to 31"));
  encoding = {.codec = VideoCodec::kLossless, .crf = 0};
  EXPECT_THAT(CheckVideoEncoding(encoding), FailsWith(kInvalid, "lossless video has none"));
}

// ---- Refusals ----

TEST(VideoWriterTest, OptionsOutOfRangeAreRefused) {
  const auto refused = [](auto change, const char* text) {
    VideoWriter::Options options = SmallOptions();
    change(options);
    EXPECT_THAT(VideoWriter::Create(options), FailsWith(kInvalid, text));
  };
  refused([](auto& o) { o.width = 0; }, "width is 0");
  refused([](auto& o) { o.height = 20000; }, "height is 20000");
  refused([](auto& o) { o.time_base_den = 0; }, "time base");
  refused([](auto& o) { o.crf = 52; }, "CRF) is 52");
  refused([](auto& o) { o.crf = -1; }, "CRF) is -1");
  refused([](auto& o) { o.frames_per_fragment = 0; }, "fragment is 0");
  refused([](auto& o) { o.first_fragment_frames = 0; }, "first fragment is 0");
  refused([](auto& o) { o.speed = static_cast<EncodingSpeed>(4); },
          "speed is 4; it must be 0 to 3");
  refused([](auto& o) { o.frame_rate_den = 0; }, "frame rate");
  refused([](auto& o) { o.audio.emplace().packets.resize(1); }, "audio track");
}

TEST(VideoWriterTest, FramesThatDoNotFitAreRefusedAndDoNoHarm) {
  auto writer = VideoWriter::Create(SmallOptions());
  ASSERT_THAT(writer, IsOk());
  const Image image = Gradient(96, 64);
  ASSERT_THAT((*writer)->Write(image, 0, 512), IsOk());

  EXPECT_THAT((*writer)->Write(Gradient(64, 96), 512, 512), FailsWith(kInvalid, "64 x 96"));
  EXPECT_THAT((*writer)->Write(image, 511, 512), FailsWith(kInvalid, "frame 1 begins at 511"));
  EXPECT_THAT((*writer)->Write(image, 513, 512), FailsWith(kInvalid, "ends at 512"));
  EXPECT_THAT((*writer)->Write(image, 512, 0), FailsWith(kInvalid, "lasts 0"));
  EXPECT_THAT((*writer)->Write(image, 512, int64_t{1} << 40), FailsWith(kInvalid, "lasts"));
  EXPECT_THAT((*writer)->Write(image, 512, 512), IsOk());
  EXPECT_THAT((*writer)->Finish(), IsOk());
}

TEST(VideoWriterTest, NothingAfterTheEndAndNoEmptyFile) {
  auto writer = VideoWriter::Create(SmallOptions());
  ASSERT_THAT(writer, IsOk());
  ASSERT_THAT((*writer)->Write(Gradient(96, 64), 0, 512), IsOk());
  ASSERT_THAT((*writer)->Finish(), IsOk());
  EXPECT_THAT((*writer)->Finish(), FailsWith(kPrecondition, "over"));
  EXPECT_THAT((*writer)->Write(Gradient(96, 64), 512, 512), FailsWith(kPrecondition, "over"));

  auto empty = VideoWriter::Create(SmallOptions());
  ASSERT_THAT(empty, IsOk());
  EXPECT_THAT((*empty)->Finish(), FailsWith(kPrecondition, "no frames"));
}

}  // namespace
}  // namespace reenact
