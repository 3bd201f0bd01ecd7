/* TRL's and transformers' options without a counterpart here: accepted where they change
 * nothing, else refused. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define LOCAL "models and data are read from local files"
#define MEMORY "memory is planned before step 0 and printed"
#define NO_HUB "has no effect without push_to_hub"
#define NOTHING "changes nothing here"
#define EXACT "attention is always exact and never stores its matrix"
#define PACKED "rows are packed without padding in any case"
#define WEIGHTS_ONLY "checkpoints hold weights, optimizer and all of the resume state"

const struct plumb_option plumb_fixed_rows[] = {
    /* model */
    R_ONLY(model_revision, LOCAL, "main"),
    R_ONLY(model_init_kwargs, "use --dtype; the rest stands in config.json", "None", "{}"),
    R_ANY(trust_remote_code, "no code of a model is ever run"),
    R_ANY(attn_implementation, EXACT),
    R_ANY(use_liger_kernel, "the fused head is always on"),
    R_ONLY(lora_target_parameters, "adapters stand on modules", "None"),
    R_ANY(lora_task_type, "the trainer sets it"),
    R_ONLY(use_dora, "DoRA is not built: --use_rslora and a larger --lora_r are", "false"),
    R_ONLY(load_in_8bit, "give a GGUF file and --keep_quantized", "false"),
    R_ONLY(load_in_4bit, "give a GGUF file and --keep_quantized", "false"),
    R_ANY(bnb_4bit_quant_type, "has no effect without load_in_4bit"),
    R_ANY(use_bnb_nested_quant, "has no effect without load_in_4bit"),
    R_ONLY(router_aux_loss_coef, "mixtures of experts are not built", "None"),
    R_ONLY(fp16, "half precision loses small gradients: use --bf16", "false"),
    R_ANY(tf32, NOTHING),
    R_ANY(torch_compile, NOTHING),
    R_ANY(torch_empty_cache_steps, NOTHING),
    R_ONLY(activation_offloading, MEMORY, "false"),
    R_ANY(gradient_checkpointing_kwargs, NOTHING),
    R_ONLY(neftune_noise_alpha, "noise on embeddings is not built", "None"),
    /* data */
    R_ONLY(dataset_config, LOCAL, "None"),
    R_ONLY(datasets, "mixtures of datasets are not built: join the files", "None", "[]"),
    R_ONLY(dataset_streaming, LOCAL, "false"),
    R_ANY(dataset_num_proc, NOTHING),
    R_ANY(dataloader_num_workers, NOTHING),
    R_ANY(dataloader_pin_memory, NOTHING),
    R_ANY(dataloader_prefetch_factor, NOTHING),
    R_ANY(dataloader_persistent_workers, NOTHING),
    R_ONLY(dataloader_drop_last, "the last, smaller batch counts", "false"),
    R_ANY(remove_unused_columns, "columns without a use are left alone"),
    R_ANY(padding_free, PACKED),
    R_ANY(pad_to_multiple_of, PACKED),
    R_ONLY(pad_token, PACKED, "None"),
    R_ONLY(ignore_data_skip, "a resumed run continues where it stood in the data", "false"),
    R_ANY(label_names, NOTHING),
    /* optimizer */
    R_ONLY(optim, "AdamW is the one optimizer", "adamw_torch_fused", "adamw_torch"),
    R_ONLY(optim_args, "AdamW is the one optimizer", "None"),
    R_ONLY(optim_target_modules, "AdamW is the one optimizer", "None"),
    R_ONLY(label_smoothing_factor, "use the trainer's own label_smoothing", "0"),
    R_ONLY(average_tokens_across_devices, "losses are means over the whole step", "true"),
    R_ONLY(auto_find_batch_size, MEMORY, "false"),
    R_ANY(full_determinism, "runs are deterministic in any case"),
    /* output */
    R_ONLY(report_to, "metrics go to metrics.jsonl in output_dir", "none", "None"),
    R_ONLY(push_to_hub, "nothing is uploaded", "false"),
    R_ANY(hub_model_id, NO_HUB),
    R_ANY(hub_token, NO_HUB),
    R_ANY(hub_strategy, NO_HUB),
    R_ANY(hub_private_repo, NO_HUB),
    R_ANY(hub_revision, NO_HUB),
    R_ANY(run_name, NOTHING),
    R_ANY(project, NOTHING),
    R_ANY(log_level, "use --quiet"),
    R_ANY(disable_tqdm, "the progress line shows on terminals only; see --quiet"),
    R_ANY(logging_nan_inf_filter, "a loss that is not finite stops the run and is named"),
    R_ONLY(include_num_input_tokens_seen, "num_tokens is always logged", "no", "false"),
    R_ONLY(save_only_model, WEIGHTS_ONLY, "false"),
    R_ONLY(eval_on_start, "not built", "false"),
    R_ONLY(eval_delay, "not built", "0"),
    R_ANY(eval_accumulation_steps, NOTHING),
    R_ANY(do_train, NOTHING),
    R_ONLY(do_eval, "use --eval_strategy", "false"),
    /* devices */
    R_ANY(use_cpu, "the device is chosen by --device"),
    R_ONLY(deepspeed, "one process trains", "None"),
    R_ONLY(fsdp, "one process trains", "None"),
    R_ONLY(fsdp_config, "one process trains", "None"),
    R_ANY(ddp_timeout, NOTHING),
    R_ANY(ddp_find_unused_parameters, NOTHING),
    R_ANY(local_rank, NOTHING),
    R_ONLY(use_vllm, "the engine generates by itself", "false"),
    R_END,
};
