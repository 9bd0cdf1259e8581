# The fallback build of the addon with node-gyp, for machines without cmake. Same sources and flags as CMakeLists.txt. Never packed: npm
# runs node-gyp by itself for a package that carries this file.
{
  "target_defaults": {
    "include_dirs": ["native"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": [
      "-std=c++17", "-fexceptions", "-frtti", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
      "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-fPIC", "-Wall", "-Wextra"
    ],
    "xcode_settings": {
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_ENABLE_CPP_RTTI": "YES",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    },
    "msvs_settings": {
      "VCCLCompilerTool": { "ExceptionHandling": 1, "RuntimeTypeInfo": "true", "AdditionalOptions": ["/std:c++17", "/fp:precise", "/utf-8"] }
    }
  },
  "targets": [
    {
      "target_name": "tersor_core",
      "type": "static_library",
      "sources": ["<!@(node tools/sources.cjs core)"],
      "cflags_cc": ["-O3"],
      "xcode_settings": { "GCC_OPTIMIZATION_LEVEL": "3" }
    },
    {
      "target_name": "tersor",
      "dependencies": ["tersor_core"],
      "sources": ["<!@(node tools/sources.cjs addon)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS", "NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags_cc": ["-Os"],
      "xcode_settings": { "GCC_OPTIMIZATION_LEVEL": "s" },
      "conditions": [["OS=='linux'", { "libraries": ["-ldl"], "ldflags": ["-pthread", "-Wl,--exclude-libs,ALL", "-Wl,-Bsymbolic", "-Wl,--gc-sections"] }]]
    }
  ]
}
