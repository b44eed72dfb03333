#!/usr/bin/env bash
# How the models in pretrained/ are made: simulate, convert, embed the reports, pre-train, fine-tune, pack, measure.
# No patient is in it. The models are research software, not a medical device.
#
# Usage: examples/pretrained/run.sh [FOLDER]      (default build/pretrained)
#
# It continues after an interruption: finished steps are passed over, a training goes on from its last checkpoint.
# On one H200 with 16 processor cores its steps took, on 26 November 2026: simulate 76 s, convert 85 s, embed 32 s,
# stage 1 206 s, which did not learn measurements yet; stage 2, the words and measuring were not timed there.
#
# Environment: NUM_EXAMS, SEED, PREVALENCE_SCALE, NUM_PROC, SAMPLING_RATE, PRESET, PRECISION; CLIP_EPOCHS, CLIP_BATCH,
# WARMUP_CLIP; NUM_WORD_EXAMS, WORD_SEED, WORD_BATCH, WORD_STEPS; CLS_EPOCHS, CLS_BATCH, WARMUP_CLS; OUTPUT_DIR (where the
# packed models go), SAMPLE_DATA (real ECGs to measure on; without, that is left out).
#
# pretrained/encoder is its first three steps at 100 Hz with the settings of docs/real_ecgs.md, and then
# python -m examples.pretrained.pack --folder FOLDER/clip --output_dir pretrained/encoder
set -euo pipefail
out=${1:-build/pretrained}
num_exams=${NUM_EXAMS:-345779}
num_proc=${NUM_PROC:-$(nproc)}
preset=${PRESET:-fernandes2024}
precision=${PRECISION:-bf16}
packed=${OUTPUT_DIR:-pretrained}
samples=${SAMPLE_DATA:-../shared/data}
rate=(--sampling_rate "${SAMPLING_RATE:-400}")
augment=(--augment noise_mv=0.02 wander_mv=0.1 shift_s=0.5 lead_masking=0.1) # no amplitude: stage 1 learns millivolts
export HF_HUB_OFFLINE=1
step() { printf '\n== %s\n' "$1"; }
mkdir -p "$out"

once() { # a step that leaves nothing of which the next run could tell that it was finished
    local mark="$out/.done-$1"
    shift
    test -f "$mark" || { "$@" && touch "$mark"; }
}

train() { # a training is finished where its folder has its metrics
    local folder=$1
    shift
    test -f "$folder/metrics.json" || accelerate launch --num_processes 1 "$@" --output_dir "$folder" \
        --dataset_name_or_path "$out/exams" --lr_scheduler_type cosine --mixed_precision "$precision" "${augment[@]}" \
        --learning_rate 1e-3 --checkpointing_steps epoch --resume_from_checkpoint latest
}

step "1/7 simulate $num_exams ECGs with reports"
once simulate python -m data_scripts.simulate --output_dir "$out/raw" --num_exams "$num_exams" \
    --seed "${SEED:-11}" --prevalence_scale "${PREVALENCE_SCALE:-1}" --num_proc "$num_proc"

step "2/7 convert them to an exam table, embed their reports, and measure each ECG"
once convert python -m data_scripts.code15 --source_dir "$out/raw" --reports "$out/raw/reports.csv" \
    --output_dir "$out/exams" --num_proc "$num_proc" "${rate[@]}"
once text_model python -m data_scripts.make_text_model --dataset_name_or_path "$out/exams" --output_dir "$out/text_model"
once embed python -m data_scripts.embed_reports --dataset_name_or_path "$out/exams" \
    --text_model_name_or_path "$out/text_model"

once measure python -m data_scripts.measure --dataset_name_or_path "$out/exams" --waves --num_proc "$num_proc" \
    --output_file "$out/measurements.parquet"

step "3/7 stage 1: ECGs against reports, and what was measured of them"
train "$out/clip" train_clip.py --measurements "$out/measurements.parquet" \
    --text_model_name_or_path "$out/text_model" --center_text --encoder_preset "$preset" \
    --per_device_train_batch_size "${CLIP_BATCH:-512}" --weight_decay 0.01 --warmup_steps "${WARMUP_CLIP:-500}" \
    --num_train_epochs "${CLIP_EPOCHS:-16}"

step "4/7 stage 1 again, for the words: the ECG encoder stays, the text encoder learns from parts of reports in two languages"
once simulate_both python -m data_scripts.simulate --output_dir "$out/raw_both" --num_exams "${NUM_WORD_EXAMS:-20000}" \
    --seed "${WORD_SEED:-20261501}" --report_language both --compression lzf --num_proc "$num_proc"
once convert_both python -m data_scripts.code15 --source_dir "$out/raw_both" --reports "$out/raw_both/reports.csv" \
    --output_dir "$out/exams_both" --num_proc "$num_proc" "${rate[@]}"
once text_model_both python -m data_scripts.make_text_model --dataset_name_or_path "$out/exams_both" \
    --output_dir "$out/text_model_both"
test -f "$out/clip_words/metrics.json" || accelerate launch --num_processes 1 train_clip.py --output_dir "$out/clip_words" \
    --overwrite_output_dir --dataset_name_or_path "$out/exams_both" --model_name_or_path "$out/clip" --freeze_encoder \
    --text_model_name_or_path "$out/text_model_both" --train_text_model --text_projection linear --drop_sentences 0.6 \
    --prompt_language both --keep zero_shot --per_device_train_batch_size "${WORD_BATCH:-128}" --learning_rate 1e-3 \
    --weight_decay 0.01 --warmup_steps 50 --lr_scheduler_type cosine --max_train_steps "${WORD_STEPS:-320}" \
    --eval_steps 80 --checkpointing_steps no

step "5/7 stage 2: labels"
train "$out/cls" train_cls.py --model_name_or_path "$out/clip" --encoder_preset "$preset" --ema_decay 0.999 \
    --per_device_train_batch_size "${CLS_BATCH:-256}" --warmup_steps "${WARMUP_CLS:-200}" \
    --num_train_epochs "${CLS_EPOCHS:-12}"

step "6/7 pack them as float16, with a set of simulated reports to search"
python -m examples.pretrained.pack --folder "$out/clip_words" --output_dir "$packed/clip"
python -m examples.pretrained.pack --folder "$out/cls" --output_dir "$packed/cls"
python -m space.index_reports --clip_model_name_or_path "$packed/clip" --dataset_name_or_path "$out/exams"

step "7/7 measure the classifier on real ECGs, which it never saw"
if test -d "$samples/ptbxl100"; then
    python benchmarks/real/run.py --model_name_or_path "$packed/cls" --sample_data "$samples" \
        --output_file "$packed/cls/real_ecgs.json"
else
    echo "left out: no real ECGs in $samples (SAMPLE_DATA names their folder)"
fi
