// A camera in front of a server: frames are sent at their times, answers are timed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/frame_source.h"
#include "client/tool/interruption.h"
#include "tests/bench/report.h"

namespace reenact::bench {

struct LiveLoad {
  v1::JobConfig config;               // with `live`, whose time base is filled in
  std::vector<std::string> pictures;  // shown forth and back
  int num_frames = 0;
  FrameRate rate;
  absl::Duration deadline = absl::InfiniteDuration();
};

// Times in seconds.
struct LiveOutcome {
  absl::Status status;
  double seconds = 0;                 // from the first frame to the last answer
  std::optional<double> first_frame;  // from the first frame to its output
  // Of every output frame in order: from when the camera had its driving frame, sent or not, to
  // when it was received.
  std::vector<double> lags;
  // The most that a frame was sent after its time, because the server did not take it.
  double most_late = 0;
  v1::LiveStatus live;  // the server's own word, of a job that succeeded
};

// Sends one live job. A frame that cannot be sent in time is sent late, and so are those behind it.
LiveOutcome RunLive(Client& client, const LiveLoad& load, const tool::Interruption* interruption);

// The result's fields for a report, over all `outcomes` (one or more) together. Percentiles of lags
// are of all frames of jobs that succeeded; the rest are medians over them.
Json Describe(const std::vector<LiveOutcome>& outcomes);

}  // namespace reenact::bench
