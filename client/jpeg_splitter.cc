#include "client/jpeg_splitter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

// Marker codes (ITU-T T.81, table B.1).
constexpr uint8_t kStuffed = 0x00;  // no marker: a 0xff of the coded data
constexpr uint8_t kTem = 0x01;
constexpr uint8_t kRst0 = 0xd0, kRst7 = 0xd7;
constexpr uint8_t kSoi = 0xd8, kEoi = 0xd9, kSos = 0xda;
constexpr uint8_t kFill = 0xff;

bool IsRestart(uint8_t code) { return code >= kRst0 && code <= kRst7; }

}  // namespace

absl::Status JpegSplitter::Push(std::string_view bytes, std::vector<std::string>& files) {
  while (!bytes.empty()) {
    const bool was_between = state_ == State::kBetween;
    size_t taken = 0;
    bool ended = false;
    if (absl::Status status = Take(bytes, taken, ended); !status.ok()) return status;
    if (!was_between) {
      if (file_.size() + taken > max_file_bytes_) {
        return absl::ResourceExhaustedError(absl::StrCat("picture ", num_files_,
                                                         " of the driving stream is larger than ",
                                                         max_file_bytes_, " bytes"));
      }
      file_.append(bytes.substr(0, taken));
    } else if (state_ != State::kBetween) {
      file_ = "\xff\xd8";
    }
    bytes.remove_prefix(taken);
    if (ended) {
      files.push_back(std::exchange(file_, std::string()));
      ++num_files_;
      state_ = State::kBetween;
      saw_ff_ = false;
      num_between_ = 0;
    }
  }
  return absl::OkStatus();
}

absl::Status JpegSplitter::Take(std::string_view bytes, size_t& taken, bool& ended) {
  const auto byte = static_cast<uint8_t>(bytes[0]);
  taken = 1;
  switch (state_) {
    case State::kBetween: {
      if (std::exchange(saw_ff_, byte == kFill) && byte == kSoi) {
        state_ = State::kMarker;
        return absl::OkStatus();
      }
      if (++num_between_ > kMaxBytesBetween) {
        return absl::InvalidArgumentError(
            absl::StrCat("the driving stream does not consist of JPEG pictures: none begins in ",
                         kMaxBytesBetween, " bytes after ", num_files_, " pictures"));
      }
      return absl::OkStatus();
    }
    case State::kMarker:
      if (byte != kFill) return Damaged("a segment does not end with a marker");
      state_ = State::kMarkerCode;
      return absl::OkStatus();
    case State::kMarkerCode:
      if (byte == kFill) return absl::OkStatus();
      if (byte == kStuffed) return Damaged("there is no marker where one should be");
      return TakeMarker(byte, ended);
    case State::kLengthHigh:
      left_ = size_t{byte} << 8;
      state_ = State::kLengthLow;
      return absl::OkStatus();
    case State::kLengthLow:
      left_ |= byte;
      // The length counts its own two bytes.
      if (left_ < 2) return Damaged("a segment has an impossible length");
      left_ -= 2;
      state_ = State::kSegment;
      break;
    case State::kSegment:
      taken = std::min(left_, bytes.size());
      left_ -= taken;
      break;
    case State::kEntropy: {
      const size_t ff = bytes.find(static_cast<char>(kFill));
      if (ff == std::string_view::npos) {
        taken = bytes.size();
      } else {
        taken = ff + 1;
        state_ = State::kEntropyMarker;
      }
      return absl::OkStatus();
    }
    case State::kEntropyMarker:
      if (byte == kFill) return absl::OkStatus();
      if (byte == kStuffed || IsRestart(byte)) {
        state_ = State::kEntropy;
        return absl::OkStatus();
      }
      return TakeMarker(byte, ended);
  }
  if (state_ == State::kSegment && left_ == 0) {
    state_ = marker_ == kSos ? State::kEntropy : State::kMarker;
  }
  return absl::OkStatus();
}

absl::Status JpegSplitter::TakeMarker(uint8_t code, bool& ended) {
  if (code == kSoi) return Damaged("another picture begins before its end");
  if (code == kEoi) {
    ended = true;
  } else if (code == kTem || IsRestart(code)) {
    state_ = State::kMarker;
  } else {
    marker_ = code;
    state_ = State::kLengthHigh;
  }
  return absl::OkStatus();
}

absl::Status JpegSplitter::Damaged(const char* what) const {
  return absl::InvalidArgumentError(
      absl::StrCat("picture ", num_files_, " of the driving stream is damaged: ", what));
}

absl::Status JpegSplitter::Finish() const {
  if (state_ != State::kBetween) {
    return absl::InvalidArgumentError(
        absl::StrCat("the driving stream ends within picture ", num_files_));
  }
  if (num_files_ == 0) {
    return absl::InvalidArgumentError("the driving stream holds no JPEG picture");
  }
  return absl::OkStatus();
}

}  // namespace reenact
