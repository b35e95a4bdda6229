// What the media tests share: pictures and clips made on the spot, and the ffmpeg tool as an
// independent witness.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/image.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
#include "tests/support/paths.h"

namespace reenact::testing {

inline absl::Status ToStatus(const absl::Status& status) { return status; }
template <typename T>
absl::Status ToStatus(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, "is OK") {
  const absl::Status status = ToStatus(arg);
  *result_listener << status.ToString();
  return status.ok();
}

// The code, and a message that contains `text`.
MATCHER_P2(FailsWith, code, text, "") {
  const absl::Status status = ToStatus(arg);
  *result_listener << status.ToString();
  return status.code() == code &&
         std::string(status.message()).find(std::string(text)) != std::string::npos;
}

// A folder that is gone when the test is over.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "reenact_media_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// Runs a shell command; its output, or "" with a failed expectation.
inline std::string Run(const TemporaryFolder& folder, const std::string& command) {
  const std::string out = folder / "stdout";
  const std::string errors = folder / "stderr";
  const int code = std::system((command + " >" + out + " 2>" + errors + " </dev/null").c_str());
  EXPECT_EQ(code, 0) << command << "\n" << ReadFile(errors);
  return ReadFile(out);
}

inline std::string Ffmpeg(const TemporaryFolder& folder, const std::string& arguments) {
  return Run(folder, "ffmpeg -v error -y -threads 1 " + arguments);
}

// Every number ffprobe prints for `entry` of the first video track's frames or packets.
inline std::vector<int64_t> Probe(const TemporaryFolder& folder, const std::string& file,
                                  const std::string& entry, const std::string& stream = "v:0") {
  std::istringstream out(Run(folder, "ffprobe -v error -select_streams " + stream +
                                         " -show_entries " + entry +
                                         " -of default=nokey=1:noprint_wrappers=1 " + file));
  std::vector<int64_t> numbers;
  for (std::string line; std::getline(out, line);) {
    if (!line.empty()) numbers.push_back(line == "N/A" ? -1 : std::stoll(line));
  }
  return numbers;
}

// The tool's RGB frames, one after the other.
inline std::string FfmpegRgb(const TemporaryFolder& folder, const std::string& file,
                             const std::string& options = "") {
  return Ffmpeg(folder,
                "-i " + file + " -map 0:v:0 " + options + " -f rawvideo -pix_fmt rgb24 -vsync 0 -");
}

struct Clip {
  VideoInfo info;
  std::vector<VideoFrame> frames;
  VideoReport report;
  absl::Status end;  // not OK: reading stopped with this
};

inline Clip ReadClip(std::string bytes, const VideoLimits& limits = {}) {
  Clip clip;
  auto reader = VideoReader::Open(std::move(bytes), limits);
  if (!reader.ok()) {
    clip.end = reader.status();
    return clip;
  }
  clip.info = (*reader)->info();
  while (true) {
    auto frame = (*reader)->Next();
    clip.report = (*reader)->report();
    if (!frame.ok()) {
      clip.end = frame.status();
      return clip;
    }
    if (!frame->has_value()) return clip;
    clip.frames.push_back(**std::move(frame));
  }
}

inline std::vector<int64_t> Pts(const Clip& clip) {
  std::vector<int64_t> pts;
  for (const VideoFrame& frame : clip.frames) pts.push_back(frame.pts);
  return pts;
}

inline std::string Rgb(const Clip& clip) {
  std::string rgb;
  for (const VideoFrame& frame : clip.frames) {
    rgb.append(frame.image.rgb.begin(), frame.image.rgb.end());
  }
  return rgb;
}

// Largest and mean difference of two byte strings of one length.
inline std::pair<int, double> Difference(const std::string& a, const std::string& b) {
  EXPECT_EQ(a.size(), b.size());
  int worst = 0;
  double sum = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const int difference = std::abs(static_cast<uint8_t>(a[i]) - static_cast<uint8_t>(b[i]));
    worst = std::max(worst, difference);
    sum += difference;
  }
  return {worst, a.empty() ? 0 : sum / static_cast<double>(a.size())};
}

inline std::string AsString(const Image& image) {
  return std::string(image.rgb.begin(), image.rgb.end());
}

// Smooth colours that differ in every direction and from frame to frame.
inline Image Gradient(int width, int height, int phase = 0) {
  Image image{width, height, {}};
  image.rgb.resize(static_cast<size_t>(width) * height * 3);
  for (int y = 0; y < height; ++y) {
    uint8_t* row = image.row(y);
    for (int x = 0; x < width; ++x) {
      row[3 * x] = static_cast<uint8_t>(30 + (190 * x) / width);
      row[3 * x + 1] = static_cast<uint8_t>(30 + (190 * y) / height);
      row[3 * x + 2] = static_cast<uint8_t>((40 + 5 * phase + 60 * x / width) % 230);
    }
  }
  return image;
}

// All pieces of a file with the given frame times.
inline std::vector<VideoWriter::Piece> WriteClip(const VideoWriter::Options& options,
                                                 const std::vector<int64_t>& pts,
                                                 int64_t last_duration) {
  std::vector<VideoWriter::Piece> pieces;
  auto writer = VideoWriter::Create(options);
  EXPECT_THAT(writer, IsOk());
  if (!writer.ok()) return pieces;
  for (size_t i = 0; i < pts.size(); ++i) {
    const int64_t duration = i + 1 < pts.size() ? pts[i + 1] - pts[i] : last_duration;
    auto written = (*writer)->Write(Gradient(options.width, options.height, static_cast<int>(i)),
                                    pts[i], duration);
    EXPECT_THAT(written, IsOk());
    if (!written.ok()) return pieces;
    for (VideoWriter::Piece& piece : *written) pieces.push_back(std::move(piece));
  }
  auto last = (*writer)->Finish();
  EXPECT_THAT(last, IsOk());
  if (!last.ok()) return pieces;
  for (VideoWriter::Piece& piece : *last) pieces.push_back(std::move(piece));
  return pieces;
}

// The rest of a clip through a writer that has the clip's sound: times as the reader gives them.
inline std::vector<VideoWriter::Piece> Rewrite(VideoReader& reader, VideoWriter& writer) {
  std::vector<VideoWriter::Piece> pieces;
  const auto add = [&pieces](absl::StatusOr<std::vector<VideoWriter::Piece>> written) {
    EXPECT_THAT(written, IsOk());
    if (!written.ok()) return false;
    for (VideoWriter::Piece& piece : *written) pieces.push_back(std::move(piece));
    return true;
  };
  while (true) {
    auto frame = reader.Next();
    EXPECT_THAT(frame, IsOk());
    if (!frame.ok()) return pieces;
    if (!frame->has_value()) break;
    if (!add(writer.Write((*frame)->image, (*frame)->pts, (*frame)->duration))) return pieces;
  }
  add(writer.Finish());
  return pieces;
}

inline std::string Join(const std::vector<VideoWriter::Piece>& pieces) {
  std::string file;
  for (const VideoWriter::Piece& piece : pieces) file += piece.data;
  return file;
}

}  // namespace reenact::testing
