#include "client/frame_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <deque>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/jpeg_splitter.h"

namespace reenact {
namespace {

constexpr size_t kReadBytes = size_t{64} << 10;

class JpegStream final : public FrameSource {
 public:
  // Owns `fd` unless it is standard input, and `stop_fd`.
  JpegStream(std::string name, int fd, int stop_fd, const JpegStreamOptions& options)
      : name_(std::move(name)),
        fd_(fd),
        stop_fd_(stop_fd),
        options_(options),
        splitter_(options.max_frame_bytes) {}
  ~JpegStream() override {
    if (fd_ != STDIN_FILENO) close(fd_);
    close(stop_fd_);
  }

  absl::StatusOr<std::optional<DrivingFrame>> Next() override {
    std::vector<std::string> files;
    while (ready_.empty()) {
      if (!problem_.ok()) return problem_;
      if (at_end_ || !Await(fd_, absl::InfiniteDuration())) return std::nullopt;
      buffer_.resize(kReadBytes);
      const ssize_t size = read(fd_, buffer_.data(), buffer_.size());
      if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (size < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", name_));
      if (size == 0) {
        at_end_ = true;
        // A camera's program may be ended within a picture.
        if (num_frames_ == 0) return splitter_.Finish();
        return std::nullopt;
      }
      // The frames before a damaged one are good.
      problem_ =
          splitter_.Push(std::string_view(buffer_).substr(0, static_cast<size_t>(size)), files);
      const absl::Time now = absl::Now();
      for (std::string& file : files) ready_.push_back({std::move(file), NextPts(now)});
      files.clear();
    }
    DrivingFrame frame = std::move(ready_.front());
    ready_.pop_front();
    if (options_.pace && options_.rate.has_value()) {
      if (frame.pts == 0) start_ = absl::Now();
      const absl::Time due =
          start_ + absl::Seconds(frame.pts) * options_.rate->den / options_.rate->num;
      if (!Await(-1, due - absl::Now())) return std::nullopt;
    }
    return frame;
  }

  void Stop() override {
    const uint64_t one = 1;
    // It stays readable for ever, so that every later Next() sees it.
    while (write(stop_fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
  }

 private:
  // Waits until `fd` can be read (-1: none) or the time is over. False: Stop() came first.
  bool Await(int fd, absl::Duration timeout) const {
    const absl::Time deadline = absl::Now() + timeout;
    while (true) {
      pollfd fds[] = {{.fd = stop_fd_, .events = POLLIN, .revents = 0},
                      {.fd = fd, .events = POLLIN, .revents = 0}};
      const absl::Duration left = deadline - absl::Now();
      int milliseconds = -1;
      if (left < absl::InfiniteDuration()) {
        milliseconds = static_cast<int>(
            std::clamp(absl::ToDoubleMilliseconds(left) + 0.999, 0.0, 3'600'000.0));
      }
      const int num = poll(fds, 2, milliseconds);
      if (num < 0 && errno != EINTR) return false;
      if (num > 0 && fds[0].revents != 0) return false;
      if (num > 0 && fds[1].revents != 0) return true;
      if (absl::Now() >= deadline) return true;
    }
  }

  int64_t NextPts(absl::Time now) {
    if (options_.rate.has_value()) return num_frames_++;
    if (num_frames_++ == 0) {
      start_ = now;
      return last_pts_ = 0;
    }
    last_pts_ = std::max(last_pts_ + 1, absl::ToInt64Microseconds(now - start_));
    return last_pts_;
  }

  const std::string name_;
  const int fd_;
  const int stop_fd_;
  const JpegStreamOptions options_;

  // Of the reading thread.
  JpegSplitter splitter_;
  std::string buffer_;
  std::deque<DrivingFrame> ready_;
  absl::Status problem_;  // comes after what is ready
  bool at_end_ = false;
  int64_t num_frames_ = 0;
  int64_t last_pts_ = 0;
  absl::Time start_;
};

}  // namespace

absl::StatusOr<FrameRate> ParseFrameRate(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '/');
  FrameRate rate;
  double value = 0;
  if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &rate.num) &&
      absl::SimpleAtoi(parts[1], &rate.den) && rate.num > 0 && rate.den > 0) {
    value = static_cast<double>(rate.num) / rate.den;
  } else if (parts.size() == 1 && absl::SimpleAtod(text, &value) && value > 0 && value < 1e4) {
    // To the thousandth, as rates are written.
    const auto thousandths = static_cast<int32_t>(std::lround(value * 1000));
    const int32_t common = std::gcd(thousandths, 1000);
    rate = {.num = thousandths / common, .den = 1000 / common};
  }
  if (!(value >= 0.01 && value <= 1000)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", text, "' is not a frame rate from 0.01 to 1000, such as 25, 29.97 or ", "30000/1001"));
  }
  return rate;
}

TimeUnit TimeUnitOf(const JpegStreamOptions& options) {
  if (!options.rate.has_value()) return {};
  return {.num = options.rate->den, .den = options.rate->num};
}

absl::StatusOr<std::unique_ptr<FrameSource>> OpenJpegStream(const std::string& path,
                                                            const JpegStreamOptions& options) {
  const bool standard_input = path == "-";
  // Not blocking: a named pipe is opened before somebody writes to it, which Stop() can end.
  const std::string name = standard_input ? "standard input" : path;
  const int fd =
      standard_input ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", name));
  const int stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop_fd < 0) {
    const int error = errno;
    if (!standard_input) close(fd);
    return absl::ErrnoToStatus(error, absl::StrCat("cannot read ", name));
  }
  auto stream = std::make_unique<JpegStream>(name, fd, stop_fd, options);
  struct stat about = {};
  if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", name, ": it is a folder"));
  }
  return stream;
}

}  // namespace reenact
