// `decode`: latents to pictures alone.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pipeline/models/cpu_vae_decoder.h"
#include "pipeline/models/device.h"
#include "pipeline/weights/load.h"
#include "tests/bench/measure.h"
#include "tests/bench/networks.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

struct Flags {
  std::string config = "demo", bundle, dtype = "fp32,bf16", decoder, device = "cpu";
  int frames = 29;
  int batch = 8;
  int threads = 0;
  int repeat = 3;
  uint64_t seed = 0;
};

// One decoder and how long it took for all frames, each repeat.
struct Contender {
  std::string decoder, dtype;
  AutoencoderKL autoencoder{nullptr};  // of "libtorch" on the CPU
  std::unique_ptr<VaeDecoder> own;     // of the others
  std::vector<double> seconds;
  double cores_had = 0;

  std::string Name() const { return absl::StrCat(decoder, " ", dtype); }
  double Best() const { return *std::min_element(seconds.begin(), seconds.end()); }
};

absl::Status Run(const Flags& flags, Report& report) {
  const auto dtypes = ParseWordList("--dtype", flags.dtype, {"fp32", "bf16"});
  if (!dtypes.ok()) return dtypes.status();
  const auto device = FindDevice(flags.device);
  if (!device.ok()) {
    return absl::Status(device.status().code(), absl::StrCat("--", device.status().message()));
  }
  const std::string usual = device->is_cuda() ? "libtorch" : "cpu";
  const auto decoders = ParseWordList("--decoder", flags.decoder.empty() ? usual : flags.decoder,
                                      {"cpu", "libtorch"});
  if (!decoders.ok()) return decoders.status();
  if (flags.threads > 0) at::set_num_threads(flags.threads);
  const int threads = at::get_num_threads();
  // A processor that waits for a GPU is not what is measured.
  const int clock_threads = device->is_cuda() ? std::max(threads, 2) : threads;
  Networks networks;
  int64_t side = 0;  // of the latents
  if (flags.bundle.empty()) {
    const auto shape = FindShape(flags.config, 0);
    if (!shape.ok()) return shape.status();
    networks = MakeNetworks(flags.config, *shape, flags.seed, false, true);
    side = shape->sdit.latent_size;
  } else {
    auto read = ReadNetworks(flags.bundle);
    if (!read.ok()) return read.status();
    networks = *std::move(read);
    side = networks.sdit->config().latent_size;
  }
  const AutoencoderKLConfig& config = networks.autoencoder->config();

  std::vector<Contender> contenders;
  for (const std::string& decoder : *decoders) {
    for (const std::string& dtype : *dtypes) {
      Contender contender;
      contender.decoder = decoder;
      contender.dtype = dtype;
      const auto format = dtype == "bf16" ? ExecutorDtype::kBfloat16 : ExecutorDtype::kFloat32;
      if (decoder == "cpu") {
        contender.own = MakeCpuVaeDecoder(networks.autoencoder, format);
      } else if (device->is_cuda()) {
        auto own = MakeTorchVaeDecoder(networks.autoencoder, format, *device);
        if (!own.ok()) return own.status();
        contender.own = *std::move(own);
      } else {
        contender.autoencoder = AutoencoderKL(config);
        if (auto status = LoadWeights(*contender.autoencoder, StateDict(*networks.autoencoder));
            !status.ok()) {
          return status;
        }
        contender.autoencoder->eval();
        if (dtype == "bf16") contender.autoencoder->to(torch::kBFloat16);
      }
      contenders.push_back(std::move(contender));
    }
  }

  c10::InferenceMode inference;
  torch::manual_seed(flags.seed);
  const torch::Tensor latents = torch::randn({flags.frames, config.latent_channels, side, side});
  const auto decode = [&](Contender& contender, int64_t frames) {
    for (int64_t first = 0; first < frames; first += flags.batch) {
      const torch::Tensor z =
          latents.narrow(0, first, std::min<int64_t>(flags.batch, frames - first)) /
          config.scaling_factor;
      const auto dtype = contender.dtype == "bf16" ? torch::kBFloat16 : torch::kFloat32;
      if (contender.own != nullptr) {
        contender.own->DecodeToBytes(z);
      } else {
        PicturesToBytes(contender.autoencoder->decode(z.to(dtype)).to(torch::kFloat32));
      }
    }
  };
  for (Contender& contender : contenders) decode(contender, std::min(flags.batch, flags.frames));
  for (int repeat = 0; repeat < flags.repeat; ++repeat) {
    for (Contender& contender : contenders) {
      const Stopwatch watch;
      decode(contender, flags.frames);
      const Elapsed elapsed = watch.elapsed();
      const double seconds = elapsed.Seconds(clock_threads);
      if (contender.seconds.empty() || seconds < contender.Best()) {
        contender.cores_had = elapsed.CoresHad(threads);
      }
      contender.seconds.push_back(seconds);
    }
  }
  for (const Contender& contender : contenders) {
    Json json;
    json["bench"] = "decode";
    json["config"] = networks.name;
    json["image_size"] = side * config.downscale();
    json["dtype"] = contender.dtype;
    json["decoder"] = contender.decoder;
    json["frames"] = flags.frames;
    json["batch"] = flags.batch;
    json["threads"] = threads;
    json["device"] = contender.decoder == "cpu" ? "cpu" : DescribeDevice(*device);
    json["clock"] = ClockName(clock_threads);
    json["repeats"] = flags.repeat;
    json["ms_per_frame"] = Number(1000 * contender.Best() / flags.frames);
    json["ms_median"] = Number(1000 * Median(contender.seconds) / flags.frames);
    json["frames_per_s"] = Number(flags.frames / contender.Best());
    json["cores_had"] = Number(contender.cores_had, 3);
    json["peak_rss_mb"] = Number(PeakRssMb());
    report.Add(json);
  }
  for (size_t i = 1; i < contenders.size(); ++i) {
    std::vector<double> ratios;
    for (size_t k = 0; k < contenders[i].seconds.size(); ++k) {
      ratios.push_back(contenders.front().seconds[k] / contenders[i].seconds[k]);
    }
    Json json;
    json["bench"] = "decode-compare";
    json["config"] = networks.name;
    json["base"] = contenders.front().Name();
    json["other"] = contenders[i].Name();
    json["speedup"] = Number(contenders.front().Best() / contenders[i].Best(), 4);
    json["speedup_median"] = Number(Median(ratios), 4);
    report.Add(json);
  }
  return absl::OkStatus();
}

}  // namespace

void AddDecode(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command =
      app.add_subcommand("decode", "VAE decode, latents to 8-bit pictures: frames a second");
  const auto flags = std::make_shared<Flags>();
  CLI::Option* config = command->add_option("--config", flags->config, "Shape of the network")
                            ->check(CLI::IsMember(ShapeNames()))
                            ->capture_default_str();
  command->add_option("--bundle", flags->bundle, "A bundle's network instead")
      ->type_name("FOLDER")
      ->excludes(config);
  command->add_option("--dtype", flags->dtype, "fp32, bf16, or both in turn: fp32,bf16")
      ->capture_default_str();
  command
      ->add_option("--decoder", flags->decoder,
                   "cpu (the engine's own), libtorch (the network as it is), or both: "
                   "libtorch,cpu. Default: cpu, on a GPU libtorch")
      ->type_name("LIST");
  command->add_option("--device", flags->device, "Of libtorch: cpu, cuda, cuda:N or auto")
      ->capture_default_str();
  command->add_option("--frames", flags->frames, "Frames in all")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--batch", flags->batch, "Frames decoded at a time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "Default: one per core")
      ->check(CLI::Range(1, 1024));
  command->add_option("--repeat", flags->repeat, "Runs; the fastest counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "Of weights and latents")->capture_default_str();
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
