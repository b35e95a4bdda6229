#include "pipeline/media/deinterlace.h"

extern "C" {
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
}

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace reenact {
namespace {

// Of 255: what differs by no more between two frames is noise.
constexpr int kStill = 3;

// Three lines of a field pair: a sample and what is above and below it, of the other field.
template <typename Sample>
struct Lines {
  const Sample* above;
  const Sample* at;
  const Sample* below;
};

// Writes `count` samples of a line of the second field. `out` may be `now.at`.
template <typename Sample>
void FilterLine(const Lines<Sample>& now, const Lines<Sample>& before, int still, int count,
                Sample* out) {
  for (int i = 0; i < count; ++i) {
    const int a = now.above[i];
    const int p = now.at[i];
    const int b = now.below[i];
    const int moved = std::max(
        {std::abs(a - before.above[i]), std::abs(p - before.at[i]), std::abs(b - before.below[i])});
    const bool is_between = p >= std::min(a, b) && p <= std::max(a, b);
    out[i] = static_cast<Sample>(moved <= still || is_between ? p : (a + b + 1) / 2);
  }
}

template <typename Sample>
void FilterPlane(const AVFrame* previous, AVFrame& frame, int plane, int bytes, int height,
                 int still) {
  const int count = bytes / static_cast<int>(sizeof(Sample));
  const auto lines = [&](const AVFrame& of, int y) {
    const auto line = [&](int at) {
      return reinterpret_cast<const Sample*>(of.data[plane] +
                                             static_cast<ptrdiff_t>(at) * of.linesize[plane]);
    };
    const int above = y > 0 ? y - 1 : y + 1;
    const int below = y + 1 < height ? y + 1 : y - 1;
    return Lines<Sample>{line(above), line(y), line(below)};
  };
  for (int y = frame.top_field_first ? 1 : 0; y < height; y += 2) {
    Sample* out = reinterpret_cast<Sample*>(frame.data[plane] +
                                            static_cast<ptrdiff_t>(y) * frame.linesize[plane]);
    const Lines<Sample> now = lines(frame, y);
    // Without a frame before, nothing counts as at rest.
    if (previous == nullptr) {
      FilterLine(now, now, -1, count, out);
    } else {
      FilterLine(now, lines(*previous, y), still, count, out);
    }
  }
}

// How far a sample's value is shifted against 8 bits; -1: not a format of whole samples.
int ExtraBits(const AVPixFmtDescriptor& format) {
  constexpr uint64_t kOther = AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |
                              AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BE |
                              AV_PIX_FMT_FLAG_BAYER;
  if ((format.flags & kOther) != 0) return -1;
  const AVComponentDescriptor& first = format.comp[0];
  for (int i = 0; i < format.nb_components; ++i) {
    if (format.comp[i].depth != first.depth || format.comp[i].shift != first.shift) return -1;
  }
  if (first.depth < 8 || first.depth > 16) return -1;
  return first.depth + first.shift - 8;
}

}  // namespace

absl::StatusOr<bool> Deinterlacer::Apply(LibavPtr<AVFrame>& frame) {
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame->format));
  if (!frame->interlaced_frame || format == nullptr || ExtraBits(*format) < 0 ||
      frame->height < 4) {
    previous_.reset();
    return false;
  }
  LibavPtr<AVFrame> woven = std::move(frame);
  frame.reset(av_frame_clone(woven.get()));
  if (frame == nullptr || av_frame_make_writable(frame.get()) < 0) {
    frame = std::move(woven);
    return absl::ResourceExhaustedError("deinterlacing a video frame: out of memory");
  }
  const bool fits = previous_ != nullptr && previous_->format == woven->format &&
                    previous_->width == woven->width && previous_->height == woven->height;
  const AVFrame* previous = fits ? previous_.get() : nullptr;
  const int extra_bits = ExtraBits(*format);
  for (int plane = 0; plane < av_pix_fmt_count_planes(static_cast<AVPixelFormat>(frame->format));
       ++plane) {
    const bool is_chroma = plane == 1 || plane == 2;
    const int height =
        is_chroma ? AV_CEIL_RSHIFT(frame->height, format->log2_chroma_h) : frame->height;
    const int bytes =
        av_image_get_linesize(static_cast<AVPixelFormat>(frame->format), frame->width, plane);
    if (height < 2 || bytes <= 0) continue;
    if (format->comp[0].depth == 8) {
      FilterPlane<uint8_t>(previous, *frame, plane, bytes, height, kStill);
    } else {
      FilterPlane<uint16_t>(previous, *frame, plane, bytes, height, kStill << extra_bits);
    }
  }
  frame->interlaced_frame = 0;
  previous_ = std::move(woven);
  return true;
}

}  // namespace reenact
