/** TensorBoard imports this module in the plugin's frame and calls `render()`. */
export async function render(): Promise<void> {
  document.documentElement.lang = 'en';
  document.title = 'GradScope for TensorBoard';
}
