// Video files: the container through our AVIO, decoding, sound copied or transcoded, and what comes
// out written again.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
#include "tests/fuzz/fuzz_target.h"

namespace reenact::fuzz {
namespace {

// The ffmpeg tool's output for `options`, a file name last.
std::string MakeClip(const std::string& options, const std::string& name) {
  std::string folder = (std::filesystem::temp_directory_path() / "reenact_fuzz_XXXXXX").string();
  Require(mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
  const std::string path = folder + "/" + name;
  const std::string command =
      "ffmpeg -v error -threads 1 -f lavfi -i testsrc2=size=32x32:rate=10:duration=0.5 -f lavfi -i "
      "sine=duration=0.5:sample_rate=8000 -threads 1 -map_metadata -1 -fflags +bitexact " +
      options + " " + path + " </dev/null";
  Require(std::system(command.c_str()) == 0, "the ffmpeg tool makes the seeds");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  std::filesystem::remove_all(folder);
  return bytes.str();
}

// Writes the frames and the sound of a readable clip: that must work, whatever the clip was.
class Rewriter {
 public:
  Rewriter(const VideoInfo& info, AudioTrack audio) {
    VideoWriter::Options options;
    options.width = info.width;
    options.height = info.height;
    options.time_base_num = info.time_base_num;
    options.time_base_den = info.time_base_den;
    options.frame_rate_num = info.frame_rate_num;
    options.frame_rate_den = info.frame_rate_den;
    options.speed = EncodingSpeed::kFastest;
    options.frames_per_fragment = 4;
    options.audio = std::move(audio);
    auto writer = VideoWriter::Create(std::move(options));
    if (writer.ok()) {
      writer_ = *std::move(writer);
    } else {
      RequireRefusal(writer.status());
    }
  }

  void Write(const VideoFrame& frame) {
    if (writer_ == nullptr) return;
    const auto pieces = writer_->Write(frame.image, frame.pts, frame.duration);
    if (pieces.ok()) return;
    RequireRefusal(pieces.status());
    writer_.reset();
  }

  void Finish(int num_frames) {
    if (writer_ == nullptr || num_frames == 0) return;
    const auto pieces = writer_->Finish();
    if (!pieces.ok()) RequireRefusal(pieces.status());
  }

 private:
  std::unique_ptr<VideoWriter> writer_;
};

}  // namespace

std::vector<std::string> Seeds() {
  return {
      MakeClip("-c:v libx264 -bf 2 -c:a aac", "a.mp4"),
      MakeClip("-c:v libx264 -g 2 -c:a aac -movflags frag_keyframe+empty_moov", "a.mp4"),
      MakeClip("-c:v mpeg4 -c:a pcm_s16le", "a.mov"),
      MakeClip("-c:v ffv1 -c:a pcm_s16le", "a.mkv"),
      MakeClip("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus -ar 48000", "a.webm"),
      MakeClip("-c:v mjpeg -c:a pcm_u8", "a.avi"),
      MakeClip("-c:v mpeg2video -r 25 -flags +ilme+ildct -c:a mp2", "a.ts"),
      MakeClip("-c:v flv -c:a adpcm_swf -ar 11025", "a.flv"),
      MakeClip("-c:v libtheora -c:a libvorbis", "a.ogv"),
      MakeClip("-an", "a.gif"),
      MakeClip("-c:v png -c:a flac -pix_fmt rgb48be", "a.mkv"),
      MakeClip("-c:v prores_ks -c:a alac", "a.mov"),
  };
}

void Run(std::string_view input) {
  VideoLimits limits;
  limits.max_pixels = 128 * 128;
  limits.max_frames = 40;
  limits.max_duration_seconds = 60;
  limits.max_streams = 8;
  limits.max_seconds_per_frame = 5;
  auto reader = VideoReader::Open(std::string(input), limits);
  if (!reader.ok()) return RequireRefusal(reader.status());
  const VideoInfo& info = (*reader)->info();
  Require(info.time_base_num > 0 && info.time_base_den > 0, "a clip has a clock");
  Require(int64_t{info.width} * info.height <= limits.max_pixels, "frames are within the limit");

  auto audio = (*reader)->ReadAudio();
  if (!audio.ok()) RequireRefusal(audio.status());
  Rewriter rewriter(info, audio.ok() ? *std::move(audio) : AudioTrack{});
  int num_frames = 0;
  int64_t next_pts = 0;
  while (true) {
    auto frame = (*reader)->Next();
    if (!frame.ok()) {
      RequireRefusal(frame.status());
      break;
    }
    if (!frame->has_value()) break;
    const VideoFrame& got = **frame;
    Require(++num_frames <= limits.max_frames, "there are no more frames than the limit");
    Require(got.image.width == info.width && got.image.height == info.height &&
                got.image.rgb.size() == size_t{3} * info.width * info.height,
            "all frames have one size");
    Require(got.duration > 0, "a frame lasts");
    Require(num_frames == 1 || got.pts == next_pts, "a frame begins where the one before ends");
    next_pts = got.pts + got.duration;
    rewriter.Write(got);
  }
  rewriter.Finish(num_frames);
  DescribeReport(info, (*reader)->report(), "video");
}

}  // namespace reenact::fuzz
