// What the end-to-end tests share: a job from its start to its summary, and what ffmpeg and ffprobe
// say of files.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "nlohmann/json.hpp"
#include "tests/client/subprocess.h"

namespace reenact::testing {

// All that came of a job.
struct Outcome {
  absl::Status status;
  std::string job_id;
  std::string video;
  int64_t last_step = 0;  // of the last progress
  v1::Summary summary;
};

inline void Note(const v1::ReenactResponse& answer, Outcome& outcome) {
  if (answer.has_accepted()) outcome.job_id = answer.accepted().job_id();
  if (answer.has_progress()) outcome.last_step = answer.progress().step();
  if (answer.has_video()) outcome.video += answer.video().data();
  if (answer.has_summary()) outcome.summary = answer.summary();
}

inline Outcome ReadAll(JobStream& job) {
  Outcome outcome;
  while (true) {
    auto next = job.Next();
    outcome.status = next.status();
    if (!next.ok() || !next->has_value()) return outcome;
    Note(**next, outcome);
  }
}

// What a program printed; fails the test if it did not end with 0, within two minutes.
inline std::string OutputOf(const std::vector<std::string>& command) {
  Subprocess program(command);
  const int exit_code = program.Wait(absl::Minutes(2));
  EXPECT_EQ(exit_code, 0) << command[0] << ": " << program.err();
  return program.out();
}

// Presentation times of all video frames in seconds as exact fractions, in presentation order.
inline std::vector<std::pair<int64_t, int64_t>> FrameTimes(const std::string& path) {
  const auto probed = nlohmann::json::parse(
      OutputOf({"ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
                "stream=time_base:frame=best_effort_timestamp", "-of", "json", path}));
  const std::vector<std::string> base =
      absl::StrSplit(probed["streams"][0]["time_base"].get<std::string>(), '/');
  const int64_t numerator = std::stoll(base[0]), denominator = std::stoll(base[1]);
  std::vector<std::pair<int64_t, int64_t>> times;
  for (const auto& frame : probed["frames"]) {
    const int64_t top = frame["best_effort_timestamp"].get<int64_t>() * numerator;
    const int64_t divisor = std::gcd(top, denominator);
    times.emplace_back(top / divisor, denominator / divisor);
  }
  return times;
}

// MD5 of the sound's packets as they are.
inline std::string SoundMd5(const std::string& path) {
  return OutputOf(
      {"ffmpeg", "-v", "error", "-i", path, "-map", "0:a", "-c", "copy", "-f", "md5", "-"});
}

}  // namespace reenact::testing
