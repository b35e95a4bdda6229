#include "pipeline/media/libav.h"

extern "C" {
#include <libavutil/dict.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>
}

#include <time.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pipeline/media/container_check.h"

namespace reenact {
namespace {

constexpr char kContainers[] = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,flv,ogg,gif";
constexpr char kContainerNames[] =
    "MP4, MOV, Matroska, WebM, AVI, MPEG-TS, FLV, Ogg and GIF are accepted";

// Decoders by FFmpeg's names. Sound is never decoded beyond what finding its parameters takes.
constexpr char kDecoders[] =
    // pictures
    "h264,hevc,vp8,vp9,libdav1d,libaom-av1,av1,mpeg4,mpeg2video,mpeg1video,mpegvideo,h263,h263p,"
    "h263i,flv,msmpeg4v1,msmpeg4,msmpeg4v2,wmv1,wmv2,vp6,vp6f,vp6a,theora,mjpeg,mjpegb,prores,"
    "dnxhd,cfhd,ffv1,huffyuv,ffvhuff,utvideo,rawvideo,v210,png,qtrle,cinepak,svq1,svq3,gif,dvvideo,"
    "magicyuv,rv30,rv40,"
    // sound
    "aac,aac_latm,mp3float,mp3,mp2float,mp2,mp1float,mp1,opus,libopus,vorbis,flac,alac,ac3,eac3,"
    "dca,"
    "truehd,wmav1,wmav2,speex,libspeex,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,adpcm_ms,"
    "adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,nellymoser,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,"
    "pcm_s32le,pcm_s32be,pcm_u8,pcm_s8,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw";

constexpr int kIoBuffer = 64 * 1024;

// Tracks that FFmpeg may make; more than any limit of ours, so that a refusal can count them.
constexpr int kMostStreams = 1000;

// Whether one of the comma-separated `names` is in kContainers.
bool IsAllowedContainer(const char* names) {
  const std::string allowed = absl::StrCat(",", kContainers, ",");
  std::string_view first(names);
  first = first.substr(0, first.find(','));
  return allowed.find(absl::StrCat(",", std::string(first), ",")) != std::string::npos;
}

}  // namespace

std::string LibavErrorText(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof(text));
  return text;
}

absl::Status LibavStatus(int error, absl::StatusCode code, const std::string& doing) {
  if (error == AVERROR(ENOMEM)) code = absl::StatusCode::kResourceExhausted;
  return absl::Status(code, absl::StrCat(doing, ": ", LibavErrorText(error)));
}

void InitLibav() {
  static std::once_flag once;
  std::call_once(once, [] {
    av_log_set_level(AV_LOG_QUIET);
    av_max_alloc(kLargestAllocation);
  });
}

double WorkBudget::Now() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

LibavPtr<AVIOContext> OpenSink(void* self, int (*write)(void* self, uint8_t* data, int size)) {
  uint8_t* buffer = static_cast<uint8_t*>(av_malloc(kIoBuffer));
  if (buffer == nullptr) return nullptr;
  LibavPtr<AVIOContext> io(avio_alloc_context(buffer, kIoBuffer, 1, self, nullptr, write, nullptr));
  if (io == nullptr) av_free(buffer);
  return io;
}

int Demuxer::Read(void* self, uint8_t* buffer, int size) {
  Demuxer& demuxer = *static_cast<Demuxer*>(self);
  if (demuxer.work_.spent()) return AVERROR_EXIT;
  const size_t left = demuxer.bytes_.size() - demuxer.position_;
  const size_t count = std::min(left, static_cast<size_t>(size));
  if (count == 0) return AVERROR_EOF;
  std::memcpy(buffer, demuxer.bytes_.data() + demuxer.position_, count);
  demuxer.position_ += count;
  return static_cast<int>(count);
}

int64_t Demuxer::Seek(void* self, int64_t offset, int whence) {
  Demuxer& demuxer = *static_cast<Demuxer*>(self);
  const int64_t size = static_cast<int64_t>(demuxer.bytes_.size());
  whence &= ~AVSEEK_FORCE;
  if (whence == AVSEEK_SIZE) return size;
  if (whence == SEEK_CUR) offset += static_cast<int64_t>(demuxer.position_);
  if (whence == SEEK_END) offset += size;
  if (offset < 0 || offset > size) return AVERROR(EINVAL);
  demuxer.position_ = static_cast<size_t>(offset);
  return offset;
}

absl::StatusOr<std::unique_ptr<Demuxer>> Demuxer::Open(std::string_view bytes,
                                                       const Limits& limits) {
  InitLibav();
  if (bytes.empty()) return absl::InvalidArgumentError("the video is empty (0 bytes)");
  std::unique_ptr<Demuxer> demuxer(new Demuxer(limits));
  demuxer->bytes_ = bytes;
  // Sides are rounded up to 128 pixels at most; frames narrower than that are small anyhow.
  demuxer->max_coded_pixels_ = 2 * limits.max_pixels + 65536;
  uint8_t* buffer = static_cast<uint8_t*>(av_malloc(kIoBuffer));
  demuxer->io_.reset(
      avio_alloc_context(buffer, kIoBuffer, 0, demuxer.get(), &Read, nullptr, &Seek));
  if (demuxer->io_ == nullptr) {
    av_free(buffer);
    return absl::ResourceExhaustedError("opening the video: out of memory");
  }

  const std::string opening = "reading the video's header";
  const AVInputFormat* format = nullptr;
  const int score = av_probe_input_buffer2(demuxer->io_.get(), &format, "", nullptr, 0, 0);
  if (score < 0 || format == nullptr || !IsAllowedContainer(format->name)) {
    if (absl::Status work = demuxer->CheckWork(opening); !work.ok()) return work;
    // A low score is a guess (plain text "is" a subtitle format); only a good one is worth telling.
    const bool is_known = score > AVPROBE_SCORE_EXTENSION && format != nullptr;
    return absl::InvalidArgumentError(
        absl::StrCat("not a video in a supported container",
                     is_known ? absl::StrCat(" (it looks like ", format->long_name, ")") : "", ": ",
                     kContainerNames));
  }

  const std::string cut_off = FindCutOff(bytes);
  if (const std::string damage = FindImpossibleIndex(bytes); !damage.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the video is ",
                                                   cut_off.empty() ? "damaged" : "cut off",
                                                   ", no frame could be read: ", damage));
  }

  demuxer->context_ = avformat_alloc_context();
  AVFormatContext* context = demuxer->context_;
  if (context == nullptr) return absl::ResourceExhaustedError("opening the video: out of memory");
  context->pb = demuxer->io_.get();
  context->max_streams = kMostStreams;
  context->format_whitelist = av_strdup(kContainers);
  context->codec_whitelist = av_strdup(kDecoders);
  context->protocol_whitelist = av_strdup("");
  context->io_open = [](AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
    return AVERROR(EACCES);
  };
  // On failure this frees the context and clears the pointer.
  int error = avformat_open_input(&demuxer->context_, "", format, nullptr);
  if (error < 0) {
    if (absl::Status work = demuxer->CheckWork(opening); !work.ok()) return work;
    if (!cut_off.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the video is cut off, no frame could be read: ", cut_off));
    }
    return LibavStatus(error, absl::StatusCode::kInvalidArgument,
                       absl::StrCat("reading the header of the ", format->name, " video"));
  }
  context = demuxer->context_;
  const auto check_streams = [&]() -> absl::Status {
    if (context->nb_streams <= static_cast<unsigned>(limits.max_streams)) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat("the video has ", context->nb_streams,
                                                     " tracks; at most ", limits.max_streams,
                                                     " are accepted"));
  };
  absl::Status status = check_streams();
  if (!status.ok()) return status;

  std::vector<AVDictionary*> options(context->nb_streams, nullptr);
  for (AVDictionary*& option : options) {
    av_dict_set(&option, "threads", "1", 0);
    av_dict_set_int(&option, "max_pixels", demuxer->max_coded_pixels_, 0);
  }
  error = avformat_find_stream_info(context, options.empty() ? nullptr : options.data());
  for (AVDictionary*& option : options) av_dict_free(&option);
  status = demuxer->CheckWork(opening);
  if (status.ok()) status = check_streams();
  if (!status.ok()) return status;
  if (error < 0) {
    return LibavStatus(error, absl::StatusCode::kInvalidArgument, "reading the video's tracks");
  }
  for (unsigned i = 0; i < context->nb_streams; ++i) {
    AVStream* stream = context->streams[i];
    const AVMediaType type = stream->codecpar->codec_type;
    const int cover = AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS;
    if (type == AVMEDIA_TYPE_VIDEO && demuxer->video_ == nullptr &&
        (stream->disposition & cover) == 0) {
      demuxer->video_ = stream;
    }
    if (type == AVMEDIA_TYPE_AUDIO && demuxer->audio_ == nullptr) demuxer->audio_ = stream;
  }
  return demuxer;
}

absl::Status Demuxer::CheckWork(const std::string& doing) const {
  if (!work_.spent()) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(doing, " takes more than ", work_.seconds(),
                                                   " seconds of a processor, which is the limit"));
}

Demuxer::~Demuxer() { avformat_close_input(&context_); }

int64_t Demuxer::ClockStart(AVRational time_base) const {
  if ((context_->iformat->flags & AVFMT_TS_DISCONT) == 0 ||
      std::string_view(context_->iformat->name) != "mpegts") {
    return 0;
  }
  int64_t start = AV_NOPTS_VALUE;
  for (const AVStream* stream : {video_, audio_}) {
    if (stream == nullptr || !IsPlausibleTime(stream->start_time)) continue;
    const int64_t begin = av_rescale_q(stream->start_time, stream->time_base, time_base);
    start = start == AV_NOPTS_VALUE ? begin : std::min(start, begin);
  }
  return start == AV_NOPTS_VALUE ? 0 : start;
}

int Demuxer::ReadPacket(AVPacket& packet, int& num_damaged) {
  while (true) {
    const int error = av_read_frame(context_, &packet);
    if (error >= 0) num_read_errors_ = 0;
    if (error != AVERROR_INVALIDDATA || ++num_read_errors_ > kMaxReadErrors) return error;
    ++num_damaged;
    av_packet_unref(&packet);
  }
}

void Demuxer::Select(const AVStream* stream) {
  for (unsigned i = 0; i < context_->nb_streams; ++i) {
    AVStream* other = context_->streams[i];
    other->discard = other == stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  }
}

}  // namespace reenact
