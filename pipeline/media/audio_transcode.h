// Sound that MP4 cannot hold, as AAC. For the .cc files of this folder only.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "pipeline/media/audio_track.h"
#include "pipeline/media/libav.h"

namespace reenact {

// Decodes the first sound track of `bytes` and encodes it as AAC: one or two channels (more are
// mixed down to two), its own sample rate if AAC has it, else 48 kHz, 64 kbit/s a channel. Sample
// positions follow the track's time stamps: a gap becomes silence, an overlap is cut, so sound and
// picture cannot drift apart. What does not decode is a gap. Stops at limits.max_duration_seconds.
// The result's `note` says what was done. kInvalidArgument: nothing of it decodes;
// kResourceExhausted: over a limit.
absl::StatusOr<AudioTrack> TranscodeAudioTrack(std::string_view bytes,
                                               const Demuxer::Limits& limits);

}  // namespace reenact
