// The flag that names a sampler, wherever one is chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "pipeline/engine/sampling.h"

namespace reenact {

inline void AddSamplerOption(CLI::App& command, const std::string& name, Sampler& sampler) {
  command
      .add_option_function<std::string>(
          name,
          [name, &sampler](const std::string& word) {
            const auto chosen = SamplerFromName(word);
            if (!chosen.ok()) {
              throw CLI::ValidationError(name, std::string(chosen.status().message()));
            }
            sampler = *chosen;
          },
          "ddim, ddpm or dpm-solver++")
      ->default_str(SamplerName(sampler));
}

}  // namespace reenact
