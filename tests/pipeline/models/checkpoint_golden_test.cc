// Public checkpoint layouts against golden networks, and bundles made of them.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "pipeline/models/checkpoint_names.h"
#include "pipeline/models/checkpoint_shapes.h"
#include "pipeline/models/config_json.h"
#include "pipeline/reenactor/bundle_maker.h"
#include "pipeline/weights/checkpoint_file.h"
#include "tests/pipeline/weights/golden.h"
#include "torch/script.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::Golden;
using testing::Near;
using torch::Tensor;

constexpr double kDiTTolerance = 5e-6;

class Folder {
 public:
  Folder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = fs::path(::testing::TempDir()) /
            (std::string("reenact_checkpoint_") + test->name() + std::to_string(getpid()));
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string File(const std::string& name) const { return (path_ / name).string(); }
  std::string Write(const std::string& name, const StateDictMap& tensors) const {
    const auto status = WriteSafetensors(File(name), tensors, {});
    if (!status.ok()) throw std::runtime_error(status.ToString());
    return File(name);
  }

 private:
  fs::path path_;
};

// What diffusers calls the same weights: its converter's names, the embedders in every block.
StateDictMap DiffusersDiTNames(const StateDictMap& tensors) {
  StateDictMap result;
  int64_t depth = 0;
  while (tensors.contains("blocks." + std::to_string(depth) + ".attn.qkv.weight")) ++depth;
  for (const auto& [name, tensor] : tensors) {
    std::string renamed = name;
    const auto replace = [&renamed](const std::string& from, const std::string& to) {
      if (const size_t at = renamed.find(from); at != std::string::npos) {
        renamed.replace(at, from.size(), to);
      }
    };
    if (name == "pos_embed") continue;
    if (name.starts_with("t_embedder.") || name.starts_with("y_embedder.")) {
      replace("t_embedder.mlp.0", "timestep_embedder.linear_1");
      replace("t_embedder.mlp.2", "timestep_embedder.linear_2");
      replace("y_embedder", "class_embedder");
      for (int64_t i = 0; i < depth; ++i) {
        result["transformer_blocks." + std::to_string(i) + ".norm1.emb." + renamed] = tensor;
      }
      continue;
    }
    replace("x_embedder.proj", "pos_embed.proj");
    replace("final_layer.adaLN_modulation.1", "proj_out_1");
    replace("final_layer.linear", "proj_out_2");
    replace("blocks.", "transformer_blocks.");
    if (const size_t at = renamed.find("attn.qkv."); at != std::string::npos) {
      const auto thirds = tensor.chunk(3, 0);
      const std::string kind = renamed.substr(at + std::string("attn.qkv.").size());
      const char* const names[] = {"q", "k", "v"};
      for (size_t i = 0; i < 3; ++i) {
        result[renamed.substr(0, at) + "attn1.to_" + names[i] + "." + kind] = thirds[i];
      }
      continue;
    }
    replace("attn.proj", "attn1.to_out.0");
    replace("mlp.fc1", "ff.net.0.proj");
    replace("mlp.fc2", "ff.net.2");
    replace("adaLN_modulation.1", "norm1.linear");
    result[renamed] = tensor;
  }
  return result;
}

void ExpectSame(const StateDictMap& actual, const StateDictMap& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(actual.contains(name)) << name;
    EXPECT_TRUE(torch::equal(actual.at(name), tensor)) << name;
  }
}

TEST(CheckpointGoldenTest, DiffusersDiTNamesAreUnderstood) {
  REENACT_GOLDEN_FILES(files, "dit_forward_");
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    StateDictMap expected = golden.weights();
    const StateDictMap diffusers = DiffusersDiTNames(expected);
    expected.erase("pos_embed");

    ExpectSame(DiTNames(diffusers), expected);
    ExpectSame(DiTNames(golden.weights()), golden.weights());

    // Two blocks that disagree about an embedder are not one DiT: the second is left over.
    StateDictMap changed = diffusers;
    const std::string name = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias";
    ASSERT_TRUE(changed.contains(name));
    changed[name] = changed[name] + 1;
    EXPECT_TRUE(DiTNames(changed).contains(name));
  }
}

TEST(CheckpointGoldenTest, ConfigurationsFollowFromTheWeights) {
  REENACT_GOLDEN_FILES(files, "dit_forward_");
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    const int64_t heads = golden.size("num_heads");
    const auto config = DiTConfigFrom(golden.weights(), "", heads);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->latent_size, golden.size("input_size"));
    EXPECT_EQ(config->patch_size, golden.size("patch_size"));
    EXPECT_EQ(config->hidden_size, golden.size("hidden_size"));
    EXPECT_EQ(config->depth, golden.size("depth"));
    EXPECT_EQ(config->num_classes, golden.size("num_classes"));
    const json file = {{"num_attention_heads", heads}, {"sample_size", config->latent_size}};
    const auto diffusers =
        DiTConfigFrom(DiTNames(DiffusersDiTNames(golden.weights())), file.dump());
    ASSERT_TRUE(diffusers.ok()) << diffusers.status();
    EXPECT_EQ(diffusers->num_heads, heads);
    EXPECT_EQ(diffusers->latent_size, config->latent_size);
  }
  REENACT_GOLDEN_FILES(clips, "clip");
  for (const std::string& path : clips) {
    const auto file = ReadSafetensors(path);
    ASSERT_TRUE(file.ok());
    const StateDictMap weights = WithoutPrefix(file->tensors, "weights.");
    if (weights.empty()) continue;
    SCOPED_TRACE(path);
    const json expected = Golden(path).config();
    const json heads = {{"vision_config", expected.at("vision")},
                        {"text_config", expected.at("text")}};
    const auto config = ClipConfigFrom(ClipNames(weights), heads.dump());
    ASSERT_TRUE(config.ok()) << config.status();
    const json actual = ToJson(*config);
    for (const char* tower : {"vision", "text"}) {
      for (const auto& [key, value] : expected.at(tower).items()) {
        EXPECT_EQ(actual.at(tower).at(key), value) << tower << "." << key;
      }
    }
    EXPECT_EQ(config->projection_dim, expected.at("projection_dim").get<int64_t>());
  }
  REENACT_GOLDEN_FILES(vaes, "vae_");
  for (const std::string& path : vaes) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    const auto config =
        AutoencoderKLConfigFrom(AutoencoderKLNames(golden.weights()), golden.config().dump());
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(json(config->block_out_channels), golden.config().at("block_out_channels"));
    EXPECT_EQ(config->layers_per_block, golden.size("layers_per_block"));
    EXPECT_EQ(config->norm_num_groups, golden.size("norm_num_groups"));
    EXPECT_EQ(config->latent_channels, golden.size("latent_channels"));
  }
}

// A DiT's weights in an sDiT of one frame, whose temporal table is zero and whose condition is the
// label's vector, give the DiT's output.
TEST(CheckpointGoldenTest, AnSDiTOfOneFrameEqualsTheDiT) {
  REENACT_GOLDEN_FILES(files, "dit_forward_");
  const torch::NoGradGuard no_grad;
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    const auto dit = DiTConfigFrom(golden.weights(), "", golden.size("num_heads"));
    ASSERT_TRUE(dit.ok()) << dit.status();
    SDiTConfig config;
    config.latent_channels = dit->latent_channels;
    config.latent_size = dit->latent_size;
    config.patch_size = dit->patch_size;
    config.hidden_size = dit->hidden_size;
    config.depth = dit->depth;
    config.num_heads = dit->num_heads;
    config.learn_sigma = dit->learn_sigma;
    config.num_frames = 1;
    config.clip_dim = 8;
    SDiT model(config);
    for (const StateDictMap& layout : {golden.weights(), DiffusersDiTNames(golden.weights())}) {
      StateDictMap tensors = SDiTFromDiT(DiTNames(layout));
      for (const auto& [name, tensor] : StateDict(*model)) {
        if (name.starts_with("mapping.") || name.starts_with("null_") || name == "pos_embed") {
          tensors.emplace(name, tensor.detach());
        }
      }
      tensors["temporal_pos_embed"] = torch::zeros({1, 1, config.hidden_size});
      const auto status = LoadWeights(*model, tensors);
      ASSERT_TRUE(status.ok()) << status;

      const Tensor C = golden.at("weights.y_embedder.embedding_table.weight")
                           .index_select(0, golden.in("y"))
                           .unsqueeze(1);
      const Tensor actual =
          model->forward({.x = golden.in("x").unsqueeze(1), .t = golden.in("t"), .C = C});

      EXPECT_TRUE(Near(actual.squeeze(1), golden.out("full"), kDiTTolerance));
    }
  }
}

// OpenAI ships CLIP as a TorchScript archive: modules with the parameters as attributes.
torch::jit::Module ScriptModule(const std::string& name, const StateDictMap& tensors) {
  torch::jit::Module module("__torch__.test." + name);
  std::map<std::string, StateDictMap> children;
  for (const auto& [key, tensor] : tensors) {
    const size_t dot = key.find('.');
    if (dot == std::string::npos) {
      module.register_parameter(key, tensor.clone(), /*is_buffer=*/false);
    } else {
      children[key.substr(0, dot)][key.substr(dot + 1)] = tensor;
    }
  }
  for (const auto& [child, of_child] : children) {
    module.register_module(child, ScriptModule(name + "_" + child, of_child));
  }
  return module;
}

TEST(CheckpointGoldenTest, TorchScriptArchivesGiveTheirStateDict) {
  REENACT_GOLDEN_FILES(files, "clip_openai");
  const Folder folder;
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Golden golden(path);
    ScriptModule("Clip", golden.weights()).save(folder.File("ViT.pt"));

    const auto checkpoint = ReadCheckpoint(folder.File("ViT.pt"));

    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    ExpectSame(checkpoint->tensors, golden.weights());
    // What the public archives hold besides.
    StateDictMap more = checkpoint->tensors;
    for (const char* name : {"input_resolution", "context_length", "vocab_size",
                             "transformer.resblocks.0.attn_mask"}) {
      more[name] = torch::zeros({2, 2});
    }
    ExpectSame(ClipNames(more), ClipNames(golden.weights()));
  }
}

// --- Whole bundles ---

// Merges for a vocabulary of `size` tokens.
std::string Merges(int64_t size) {
  std::string merges = "#version: 0.2\n";
  int64_t count = size - 2 * 256 - 2;
  for (char a = 'a'; a <= 'z'; ++a) {
    for (char b = 'a'; b <= 'z'; ++b) {
      if (count-- > 0) merges += std::string(1, a) + " " + b + "\n";
    }
  }
  return merges;
}

struct Parts {
  BundleConfig config;
  BundleSources sources;
  int64_t num_heads = 0;
};

// Files of every part in `folder`: a golden DiT under `dit_names` and in `wrapper`, a golden
// autoencoder, a small random CLIP.
Parts MakeParts(const Folder& folder, const Golden& dit, const Golden& vae) {
  Parts parts;
  parts.config.name = "made";
  parts.config.licence = "none";
  const StateDictMap dit_tensors = dit.weights();
  StateDictMap wrapped;
  for (const auto& [name, tensor] : dit_tensors) {
    wrapped["ema.module." + name] = tensor;
    wrapped["model.module." + name] = tensor + 1;
  }
  parts.sources.dit = folder.Write("dit.safetensors", wrapped);
  parts.sources.num_heads = dit.size("num_heads");
  StateDictMap full = {{"model.diffusion_model.x", torch::zeros({1})}};
  for (const auto& [name, tensor] : vae.weights()) full["first_stage_model." + name] = tensor;
  fs::create_directories(folder.File("vae"));
  parts.sources.autoencoder = folder.File("vae");
  folder.Write("vae/diffusion_pytorch_model.safetensors", full);
  std::ofstream(folder.File("vae/config.json")) << vae.config().dump();

  ClipConfig clip;
  clip.projection_dim = 16;
  clip.vision = {64, 32, 64, 1, 2, 8};
  clip.text = {64, 64, 1, 2, 2 * 256 + 40 + 2, 77, 2 * 256 + 40, 2 * 256 + 41};
  Clip network(clip);
  InitializeWeights(network);
  parts.sources.clip = folder.Write("clip.safetensors", StateDict(*network));
  parts.sources.merges = folder.File("merges.txt");
  std::ofstream(parts.sources.merges) << Merges(clip.text.vocab_size);
  return parts;
}

TEST(CheckpointGoldenTest, BundlesAreMadeOfPublicLayouts) {
  REENACT_GOLDEN_FILES(dits, "dit_forward_");
  REENACT_GOLDEN_FILES(vaes, "vae_");
  const Folder folder;
  const Golden dit(dits[0]);
  for (const std::string& path : vaes) {
    SCOPED_TRACE(path);
    const Golden vae(path);
    const Parts parts = MakeParts(folder, dit, vae);
    std::vector<std::string> report;

    const auto status =
        MakeBundle(folder.File("bundle"), parts.config, parts.sources, /*half=*/false, &report);

    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(report.size(), 3u);
    const auto bundle = ReadBundle(folder.File("bundle"));
    ASSERT_TRUE(bundle.ok()) << bundle.status();
    const StateDictMap sdit = StateDict(*bundle->sdit);
    for (const auto& [name, tensor] : SDiTFromDiT(dit.weights())) {
      ASSERT_TRUE(sdit.contains(name)) << name;
      EXPECT_TRUE(torch::equal(sdit.at(name), tensor)) << name << ": not the averaged weights";
    }
    const Tensor table = dit.at("weights.y_embedder.embedding_table.weight");
    EXPECT_TRUE(torch::equal(sdit.at("mapping.out.bias"), table[table.size(0) - 1]));
    EXPECT_GT(sdit.at("mapping.out.weight").abs().max().item<float>(), 0.f);
    const StateDictMap decoder = StateDict(*bundle->autoencoder);
    for (const auto& [name, tensor] : AutoencoderKLNames(vae.weights())) {
      EXPECT_TRUE(torch::equal(decoder.at(name), tensor.to(torch::kFloat))) << name;
    }
    EXPECT_EQ(bundle->config.frames_per_row, 4);
  }
}

// A training checkpoint as facebookresearch/DiT writes it: the averaged weights, or those asked
// for.
TEST(CheckpointGoldenTest, TrainingCheckpointsOfDiTBecomeBundles) {
  const auto files = testing::FilesWithPrefix(testing::GoldenDir(), "pt_dit", ".pt");
  REENACT_GOLDEN_FILES(dits, "dit_forward_");
  REENACT_GOLDEN_FILES(vaes, "vae_");
  const Folder folder;
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    Parts parts = MakeParts(folder, Golden(dits[0]), Golden(vaes[0]));
    const auto checkpoint = ReadCheckpoint(path);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    parts.sources.dit = path;
    parts.sources.num_heads = 1;
    for (const std::string part : {"", "ema", "model"}) {
      parts.sources.dit_part = part;
      std::vector<std::string> report;
      const auto status =
          MakeBundle(folder.File("bundle"), parts.config, parts.sources, /*half=*/false, &report);
      ASSERT_TRUE(status.ok()) << status;
      const auto bundle = ReadBundle(folder.File("bundle"));
      ASSERT_TRUE(bundle.ok()) << bundle.status();
      const StateDictMap sdit = StateDict(*bundle->sdit);
      const std::string prefix = (part.empty() ? "ema" : part) + ".";
      const StateDictMap expected = SDiTFromDiT(WithoutPrefix(checkpoint->tensors, prefix));
      ASSERT_FALSE(expected.empty());
      for (const auto& [name, tensor] : expected) {
        EXPECT_TRUE(torch::equal(sdit.at(name), tensor)) << name;
      }
    }
    parts.sources.dit_part = "opt";
    std::vector<std::string> report;
    const auto none =
        MakeBundle(folder.File("bundle"), parts.config, parts.sources, /*half=*/false, &report);
    EXPECT_NE(none.message().find("there is no part \"opt\""), std::string::npos) << none;
  }
}

TEST(CheckpointGoldenTest, AllThatIsWrongWithAllFilesIsSaidAtOnce) {
  REENACT_GOLDEN_FILES(dits, "dit_forward_");
  REENACT_GOLDEN_FILES(vaes, "vae_");
  const Folder folder;
  const Golden dit(dits[0]), vae(vaes[0]);
  Parts parts = MakeParts(folder, dit, vae);
  StateDictMap broken = dit.weights();
  broken["blocks.0.attn.proj.weight"] = torch::zeros({2, 3});
  broken["blocks.1.mlp.fc1.bias"].index_put_({0}, std::nan(""));
  broken.erase("final_layer.linear.bias");
  broken["surplus"] = torch::zeros({1});
  parts.sources.dit = folder.Write("broken.safetensors", broken);
  std::ofstream(parts.sources.merges) << Merges(2 * 256 + 2 + 5);
  std::vector<std::string> report;

  const auto status =
      MakeBundle(folder.File("bundle"), parts.config, parts.sources, false, &report);

  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const std::string part :
       {"broken.safetensors", "misshapen blocks.0.attn.proj.weight: [2, 3], not [",
        "not finite blocks.1.mlp.fc1.bias", "missing final_layer.linear.bias, expected [",
        "unexpected surplus [1]", "merges.txt: has 5 merges"}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << part << "\n" << status;
  }
  EXPECT_FALSE(fs::exists(folder.File("bundle"))) << "nothing is written";
}

TEST(CheckpointGoldenTest, RandomBundlesOfEveryKindLoad) {
  for (const char* name : {"small", "demo"}) {
    for (const bool half : {false, true}) {
      SCOPED_TRACE(name);
      const Folder folder;
      const auto config = NamedBundleConfig(name, 0, 4);
      ASSERT_TRUE(config.ok()) << config.status();
      const auto status = StreamRandomBundle(folder.File("a"), *config, "", half, 5);
      ASSERT_TRUE(status.ok()) << status;
      const auto bundle = ReadBundle(folder.File("a"));
      ASSERT_TRUE(bundle.ok()) << bundle.status();
      for (const auto& [tensor_name, tensor] : StateDict(*bundle->sdit)) {
        EXPECT_GT(tensor.abs().max().item<float>(), 0.f) << tensor_name;
      }
      // The same seed, the same bytes; another, others.
      ASSERT_TRUE(StreamRandomBundle(folder.File("b"), *config, "", half, 5).ok());
      ASSERT_TRUE(StreamRandomBundle(folder.File("c"), *config, "", half, 6).ok());
      EXPECT_EQ(testing::ReadFile(folder.File("a/bundle.json")),
                testing::ReadFile(folder.File("b/bundle.json")));
      EXPECT_NE(testing::ReadFile(folder.File("a/bundle.json")),
                testing::ReadFile(folder.File("c/bundle.json")));
    }
  }
}

// The full sizes are known by their numbers of parameters.
TEST(CheckpointGoldenTest, NamedConfigurationsHaveThePublicSizes) {
  const auto count = [](const TensorShapes& shapes, const auto& counts) {
    int64_t sum = 0;
    for (const auto& [name, shape] : shapes) {
      if (!counts(name)) continue;
      int64_t size = 1;
      for (const int64_t n : shape) size *= n;
      sum += size;
    }
    return sum;
  };
  const auto is_backbone = [](const std::string& name) {
    return !name.starts_with("mapping.") && !name.starts_with("null_") &&
           name != "temporal_pos_embed";
  };
  const auto all = [](const std::string&) { return true; };
  const struct {
    const char* name;
    int64_t dit, hidden_size, clip;
  } kSizes[] = {{"S/2", 32963360, 384, 151277313},
                {"B/2", 130512416, 768, 151277313},
                {"L/4", 458053760, 1024, 427616513},
                {"XL/2", 675129632, 1152, 427616513}};
  for (const auto& size : kSizes) {
    SCOPED_TRACE(size.name);
    const auto config = NamedBundleConfig(size.name, 0, 4);
    ASSERT_TRUE(config.ok()) << config.status();
    // A DiT has a table of 1001 labels besides.
    EXPECT_EQ(count(ShapesOf(config->sdit), is_backbone) + 1001 * size.hidden_size, size.dit);
    EXPECT_EQ(count(ShapesOf(config->clip), all), size.clip);
  }
  const auto config = NamedBundleConfig("S/2", 0, 4);
  EXPECT_EQ(count(ShapesOf(config->autoencoder), all), 83653863);
  EXPECT_EQ(ShapesOf(config->autoencoder).size(), 248u);
  EXPECT_FALSE(NamedBundleConfig("XXL/2", 0, 4).ok());
  EXPECT_FALSE(NamedBundleConfig("XL/3", 0, 4).ok());
}

// Repeating one block gives the names of the whole network.
TEST(CheckpointGoldenTest, ShapesAreTheNetworksOwn) {
  const auto config = NamedBundleConfig("demo", 0, 4);
  ASSERT_TRUE(config.ok());
  const SDiT sdit(config->sdit);
  const Clip clip(config->clip);
  const auto expect = [](const torch::nn::Module& module, const TensorShapes& shapes) {
    const StateDictMap state = StateDict(module);
    EXPECT_EQ(state.size(), shapes.size());
    for (const auto& [name, tensor] : state) {
      ASSERT_TRUE(shapes.contains(name)) << name;
      EXPECT_EQ(tensor.sizes().vec(), shapes.at(name)) << name;
    }
  };
  expect(*sdit, ShapesOf(config->sdit));
  expect(*clip, ShapesOf(config->clip));
  const auto back = SDiTConfigFrom(StateDict(*sdit), config->sdit.num_heads);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(ToJson(*back), ToJson(config->sdit));
}

}  // namespace
}  // namespace reenact
