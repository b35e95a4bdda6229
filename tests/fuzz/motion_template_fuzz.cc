// Motion templates: opened, their sound restored as what MP4 can hold, every frame read.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "pipeline/driving/motion_template.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/pipeline/driving/template_testing.h"

namespace reenact::fuzz {
namespace {

AudioTrack Sound(const std::string& options, const std::string& name) {
  std::string folder = (std::filesystem::temp_directory_path() / "reenact_fuzz_XXXXXX").string();
  Require(mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
  const std::string path = folder + "/" + name;
  const std::string command =
      "ffmpeg -v error -threads 1 -f lavfi -i testsrc2=size=32x32:rate=10:duration=0.3 -f lavfi -i "
      "sine=duration=0.3:sample_rate=8000 -threads 1 -map_metadata -1 -fflags +bitexact "
      "-c:v libx264 " +
      options + " " + path + " </dev/null";
  Require(std::system(command.c_str()) == 0, "the ffmpeg tool makes the seeds");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  std::filesystem::remove_all(folder);
  auto video = VideoReader::Open(bytes.str());
  Require(video.ok(), "the seed is a video");
  auto sound = (*video)->ReadAudio();
  Require(sound.ok() && !sound->empty(), "the seed has sound");
  return *std::move(sound);
}

// What a fuzzer cannot guess: the checksum of what it made.
std::string WithChecksum(std::string_view bytes) {
  if (bytes.size() < 14 || !LooksLikeMotionTemplate(bytes)) return std::string(bytes);
  size_t at = 12, end = bytes.size();
  while (at < bytes.size()) {
    const size_t begin = at;
    const char kind = bytes[at++];
    uint64_t size = 0;
    for (int shift = 0; shift < 63 && at < bytes.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes[at++]);
      size |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) break;
    }
    if (size > bytes.size() - at) break;
    if (kind == 4) {
      end = begin;
      v1::MotionTemplateEnd message;
      if (!message.ParseFromString(std::string(bytes.substr(at, size)))) break;
      std::string whole(bytes.substr(0, end));
      message.set_crc32(static_cast<uint32_t>(
          crc32(0, reinterpret_cast<const Bytef*>(whole.data()), static_cast<uInt>(whole.size()))));
      testing::RawTemplate::Append(4, message.SerializeAsString(), &whole);
      return whole;
    }
    at += size;
  }
  return std::string(bytes);
}

void Read(std::string bytes) {
  MotionTemplateReader::Limits limits;
  limits.max_frames = 100;
  limits.max_duration_seconds = 60;
  auto reader = MotionTemplateReader::Open(std::move(bytes), limits);
  if (!reader.ok()) return RequireRefusal(reader.status());
  const MotionTemplateInfo& info = (*reader)->info();
  Require(info.time_base_num > 0 && info.time_base_den > 0, "a template has a clock");
  Require(info.width > 0 && info.height > 0, "a template has a picture's size");
  Require((*reader)->num_frames() > 0 && (*reader)->num_frames() <= limits.max_frames,
          "a template has frames, and no more than the limit");
  auto sound = (*reader)->ReadSound();
  if (!sound.ok()) {
    RequireRefusal(sound.status());
  } else if (!sound->empty()) {
    // It was tried: a job's output can have it.
    VideoWriter::Options options;
    options.width = options.height = 16;
    options.time_base_den = 25;
    options.speed = EncodingSpeed::kFastest;
    options.audio = *std::move(sound);
    auto writer = VideoWriter::Create(std::move(options));
    if (writer.ok()) {
      Image image{16, 16, std::vector<uint8_t>(16 * 16 * 3, 100)};
      const auto pieces = (*writer)->Write(image, 0, 1);
      if (!pieces.ok()) RequireRefusal(pieces.status());
      if (pieces.ok()) {
        const auto rest = (*writer)->Finish();
        if (!rest.ok()) RequireRefusal(rest.status());
      }
    } else {
      RequireRefusal(writer.status());
    }
  }
  int64_t num_frames = 0;
  int64_t next_pts = 0;
  while (true) {
    const auto frame = (*reader)->Next();
    if (!frame.ok()) return RequireRefusal(frame.status());
    if (!frame->has_value()) break;
    Require((*frame)->duration > 0, "a frame lasts");
    Require(num_frames == 0 || (*frame)->pts == next_pts,
            "a frame begins where the one before ends");
    next_pts = (*frame)->pts + (*frame)->duration;
    ++num_frames;
    if (!(*frame)->face.landmarks.has_value()) continue;
    for (const Point3& p : *(*frame)->face.landmarks) {
      Require(std::isfinite(p.x) && std::isfinite(p.y) && std::isfinite(p.z),
              "landmarks are finite");
    }
    Require((*frame)->blendshapes.size() == info.blendshape_names.size(),
            "a face has all blendshapes");
  }
  Require(num_frames == (*reader)->num_frames(), "there are as many frames as are said to be");
}

}  // namespace

std::vector<std::string> Seeds() {
  const auto info = testing::TestInfo();
  const AudioTrack aac = Sound("-c:a aac", "a.mp4");
  const AudioTrack opus = Sound("-c:a libopus -ar 48000", "a.mkv");
  const AudioTrack flac = Sound("-c:a flac", "a.mkv");
  return {testing::WriteTemplate(info, testing::TestFrames(3)),
          testing::WriteTemplate(info, testing::TestFrames(1), &aac, {"a note"}),
          testing::WriteTemplate(info, testing::TestFrames(2), &opus),
          testing::WriteTemplate(info, testing::TestFrames(1), &flac)};
}

void Run(std::string_view input) {
  Read(std::string(input));
  Read(WithChecksum(input));
}

}  // namespace reenact::fuzz
