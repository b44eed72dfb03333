#!/usr/bin/env bash
# The whole way of an ECG on a simulated cohort, in about four minutes on two cores and without a network:
# simulate, convert, embed the reports, pre-train, fine-tune with and without pre-training on 5 % of the labels,
# compare, and load the result back in an interpreter that knows nothing of this project.
#
# Usage: examples/demo/run.sh [FOLDER]      (default build/demo)
set -euo pipefail
out=${1:-build/demo}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # such a small network runs faster on one thread than on two
export HF_HUB_OFFLINE=1
step() { printf '\n== %s\n' "$1"; }

rm -rf "$out"
mkdir -p "$out"

step "1/7 simulate 8,000 ECGs with reports (prevalences three times CODE-15%'s)"
python -m data_scripts.simulate --output_dir "$out/raw" --num_exams 8000 --seed 0 --prevalence_scale 3 --num_proc 2

step "2/7 convert them to an exam table"
python -m data_scripts.code15 --source_dir "$out/raw" --reports "$out/raw/reports.csv" \
    --output_dir "$out/exams" --num_proc 2

step "3/7 embed the reports' descriptions with a small text encoder made on the spot"
python -m data_scripts.make_text_model --dataset_name_or_path "$out/exams" --output_dir "$out/text_model"
python -m data_scripts.embed_reports --dataset_name_or_path "$out/exams" --text_model_name_or_path "$out/text_model"

step "4/7 stage 1: pre-train the ECG encoder against the report embeddings"
accelerate launch --num_processes 1 train_clip.py \
    --dataset_name_or_path "$out/exams" --text_model_name_or_path "$out/text_model" --center_text \
    --encoder_preset tiny --per_device_train_batch_size 128 --learning_rate 2e-3 --warmup_steps 50 \
    --max_train_steps 600 --eval_steps 100 --checkpointing_steps no --output_dir "$out/hub/clip"

fine_tune() { # the same recipe and number of steps for both arms
    accelerate launch --num_processes 1 train_cls.py \
        --dataset_name_or_path "$out/exams" --train_fraction 0.05 --encoder_preset tiny \
        --learning_rate 1e-3 --warmup_steps 50 --max_train_steps 600 --eval_steps 50 --checkpointing_steps no "$@"
}

step "5/7 stage 2 on 5 % of the labels, from random weights (the baseline)"
fine_tune --output_dir "$out/hub/cls-from-random"

step "6/7 stage 2 on the same 5 %, from the pre-trained encoder"
fine_tune --output_dir "$out/hub/cls-from-clip" --model_name_or_path "$out/hub/clip"

step "7/7 compare, and use the result in an interpreter that cannot import this project"
python -m examples.demo.compare --runs "$out/hub/cls-from-random" "$out/hub/cls-from-clip" \
    --source_dir "$out/raw" --output_file "$out/example.json"
python examples/demo/classify.py --model_dir "$out/hub/cls-from-clip" --example "$out/example.json" \
    --figure "$out/ecg.png"

step "one seed on a small simulated cohort decides nothing: for what does, see reproduce.py and docs/reproduce.md"
